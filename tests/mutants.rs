//! The simulator finds mistakes: with each of the mutants in `src/mutants.rs` some seed
//! fails, and without any of them none does. Run as `.ci/run` does, with
//! `RUSTFLAGS="--cfg peerloop_mutants"`; without that there are no mutants.
#![cfg(peerloop_mutants)]

#[path = "it/util/mod.rs"]
mod util;

use std::panic::{catch_unwind, set_hook, take_hook};
use std::sync::Once;

use peerloop::mutants::{Mutant, activate};

use util::{crowd, occupied, workload};

/// As many as CI runs.
const SEEDS: u64 = 300;

/// The first seed that fails with this mutant.
fn found(mutant: Mutant) -> Option<u64> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        // Every seed that fails would tell at length.
        let tell = take_hook();
        set_hook(Box::new(move |panic| {
            if std::env::var_os("TELL").is_some() {
                tell(panic);
            }
        }));
    });
    activate(Some(mutant));
    let crowd = |seed| {
        crowd::crowd(seed);
    };
    let run = |seed| {
        workload::run(seed);
    };
    let fails = |seed: &u64| {
        let is_found = |workload: fn(u64)| catch_unwind(|| workload(*seed)).is_err();
        is_found(workload::drip)
            || is_found(workload::flush)
            || is_found(crowd)
            || is_found(occupied::run)
            || is_found(run)
            || (*seed < workload::SIEGES && is_found(workload::besiege))
    };
    let found = (0..SEEDS).find(fails);
    activate(None);
    found
}

macro_rules! mutants {
    ($($name:ident: $mutant:ident,)+) => {
        $(
            #[test]
            fn $name() {
                let seed = found(Mutant::$mutant).expect("some seed fails");
                println!("{:?} is found by the seed {seed}", Mutant::$mutant);
            }
        )+
    };
}

mutants! {
    stopping_on_a_short_read_is_found: StopOnShortRead,
    freeing_a_slot_within_the_turn_is_found: FreeWithinTurn,
    forgetting_what_is_carried_over_is_found: ForgetCarriedOver,
    delivering_after_a_close_is_found: DeliverAfterClose,
    losing_what_came_during_a_pause_is_found: LoseEdgeOnResume,
    charging_twice_is_found: ChargeTwice,
    dropping_the_tail_of_a_partial_write_is_found: DropTailOfPartialWrite,
    refreshing_idle_on_any_byte_is_found: RefreshIdleOnAnyByte,
    forgetting_a_listener_is_found: ForgetListener,
    counting_deadlines_from_the_beginning_of_a_turn_is_found: DeadlineFromTurnBeginning,
    visiting_without_end_is_found: VisitWithoutEnd,
    having_events_wait_for_what_was_carried_over_is_found: EventBehindCarriedOver,
    losing_a_flush_during_a_visit_is_found: LoseFlushInVisit,
    losing_a_writable_edge_is_found: LoseWritableEdge,
    forgetting_a_drain_is_found: ForgetDrain,
    keeping_a_timer_is_found: KeepTimer,
    dropping_what_comes_with_the_end_of_a_handshake_is_found: DropAfterHandshake,
    answering_twice_is_found: AnswerTwice,
    answering_in_disorder_is_found: AnswerInDisorder,
    passing_the_cap_of_all_queues_is_found: ExceedLoopMaximum,
    ignoring_the_threshold_is_found: IgnoreThreshold,
    passing_over_a_waiting_send_is_found: PassOverWaitingSend,
    charging_each_reader_of_a_broadcast_is_found: ChargeEachReader,
    passing_the_cap_of_a_queue_is_found: ExceedQueueMaximum,
    delivering_twice_is_found: DeliverTwice,
    sealing_twice_is_found: SealTwice,
    holding_for_what_is_sealed_is_found: HoldForBatch,
    forgetting_who_was_held_is_found: ForgetHeld,
    swapping_what_was_kept_with_what_came_is_found: SwapWithPartialFrame,
    keeping_the_count_of_a_failed_handshake_is_found: KeepConnecting,
    keeping_the_count_of_a_network_is_found: KeepPrefix,
    connecting_without_a_limit_is_found: ConnectWithoutLimit,
    keeping_a_handshake_place_is_found: KeepPlace,
    ending_the_oldest_handshake_whatever_its_address_is_found: EvictOldestOnly,
    expecting_an_edge_without_would_block_is_found: NoEdgeWithoutWouldBlock,
    forgetting_a_resume_before_the_connection_is_open_is_found: ResumeBeforeOpen,
}
