//! The simulator finds mistakes: with each mutant in `src/mutants.rs` some seed
//! fails. Run as `.ci/run` does, with `RUSTFLAGS="--cfg peerloop_mutants"`.
//! Without it there are no mutants.
#![cfg(peerloop_mutants)]

#[path = "it/util/mod.rs"]
mod util;

use std::panic::{catch_unwind, set_hook};
use std::sync::Once;

use peerloop::mutants::{Mutant, activate};

use util::{crowd, datagrams, hello_nodes, keeper, lookups, occupied, proxied, workload};

/// Number of seeds, as many as CI runs of `simulation::workload`.
const SEEDS: u64 = 300;

/// Number of seeds of `simulation::reconnect`, which are slow.
const KEEPERS: u64 = 20;

/// Returns the first seed that fails with this mutant, or without one.
fn found(mutant: Option<Mutant>, seeds: u64) -> Option<u64> {
    // The messages of the seeds that fail would fill the screen.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| set_hook(Box::new(|_| {})));
    activate(mutant);
    let crowd = |seed| {
        crowd::crowd(seed);
    };
    let run = |seed| {
        workload::run(seed);
    };
    let datagrams = |seed| {
        datagrams::run(seed);
    };
    let fails = |seed: &u64| {
        let is_found = |workload: fn(u64)| catch_unwind(|| workload(*seed)).is_err();
        is_found(workload::drip)
            || is_found(workload::flush)
            || is_found(workload::upgrade)
            || is_found(workload::alive)
            || is_found(crowd)
            || is_found(occupied::run)
            || is_found(lookups::run)
            || is_found(datagrams)
            || is_found(proxied::run)
            || is_found(hello_nodes::run)
            || is_found(run)
            || (*seed < KEEPERS && is_found(keeper::run))
            || (*seed < workload::SIEGES && is_found(workload::besiege))
    };
    let found = (0..seeds).find(fails);
    activate(None);
    found
}

#[test]
fn nothing_fails_without_a_mutant() {
    assert_eq!(found(None, 5), None);
}

macro_rules! mutants {
    ($($name:ident: $mutant:ident,)+) => {
        $(
            #[test]
            fn $name() {
                let seed = found(Some(Mutant::$mutant), SEEDS).expect("some seed fails");
                println!("{:?} is found by the seed {seed}", Mutant::$mutant);
            }
        )+
    };
}

mutants! {
    stop_on_short_read_is_found: StopOnShortRead,
    room_edge_before_would_block_is_found: NoRoomEdgeWithoutWouldBlock,
    free_within_turn_is_found: FreeWithinTurn,
    forget_carried_over_is_found: ForgetCarriedOver,
    deliver_after_close_is_found: DeliverAfterClose,
    lose_edge_on_resume_is_found: LoseEdgeOnResume,
    charge_twice_is_found: ChargeTwice,
    drop_tail_of_partial_write_is_found: DropTailOfPartialWrite,
    refresh_idle_on_any_byte_is_found: RefreshIdleOnAnyByte,
    restart_receive_idle_on_write_is_found: RestartReceiveIdleOnWrite,
    ping_while_sending_is_found: PingWhileSending,
    forget_listener_is_found: ForgetListener,
    deadline_from_turn_beginning_is_found: DeadlineFromTurnBeginning,
    visit_without_end_is_found: VisitWithoutEnd,
    event_behind_carried_over_is_found: EventBehindCarriedOver,
    lose_flush_in_visit_is_found: LoseFlushInVisit,
    lose_writable_edge_is_found: LoseWritableEdge,
    forget_room_is_found: ForgetRoom,
    trust_each_event_is_found: TrustEachEvent,
    forget_drain_is_found: ForgetDrain,
    keep_timer_is_found: KeepTimer,
    drop_after_handshake_is_found: DropAfterHandshake,
    answer_twice_is_found: AnswerTwice,
    answer_in_disorder_is_found: AnswerInDisorder,
    exceed_loop_maximum_is_found: ExceedLoopMaximum,
    ignore_threshold_is_found: IgnoreThreshold,
    pass_over_waiting_send_is_found: PassOverWaitingSend,
    charge_each_reader_is_found: ChargeEachReader,
    exceed_queue_maximum_is_found: ExceedQueueMaximum,
    deliver_twice_is_found: DeliverTwice,
    seal_twice_is_found: SealTwice,
    hold_for_batch_is_found: HoldForBatch,
    forget_held_is_found: ForgetHeld,
    swap_with_partial_frame_is_found: SwapWithPartialFrame,
    keep_connecting_is_found: KeepConnecting,
    keep_prefix_is_found: KeepPrefix,
    connect_without_limit_is_found: ConnectWithoutLimit,
    forget_change_is_found: ForgetChange,
    change_after_batch_is_found: ChangeAfterBatch,
    keep_place_is_found: KeepPlace,
    evict_oldest_only_is_found: EvictOldestOnly,
    no_edge_without_would_block_is_found: NoEdgeWithoutWouldBlock,
    resume_before_open_is_found: ResumeBeforeOpen,
    no_tokens_is_found: NoTokens,
    forget_tokens_is_found: ForgetTokens,
    forget_wake_is_found: ForgetWake,
    keep_session_timer_is_found: KeepSessionTimer,
    forget_failed_address_is_found: ForgetFailedAddress,
    forget_datagrams_is_found: ForgetDatagrams,
    forget_udp_drain_is_found: ForgetUdpDrain,
    keep_address_of_proxy_is_found: KeepAddressOfProxy,
    forget_header_is_found: ForgetHeader,
    order_by_own_number_is_found: OrderByOwnNumber,
}
