//! What has gone wrong elsewhere: the bug classes of pea2pea's changelog, and what users of such libraries complain
//! about. Each with the test that would notice it here; those without a file are in this one.
//!
//! | bug class of pea2pea (its version) | guarded by |
//! |---|---|
//! | limit overshoot under simultaneous connects (0.53) | `admission::limits::fifty_connects_at_once_never_pass_the_limit` |
//! | counters updated one without the other (0.54.4, 0.54.5) | `limits::tests::a_refusal_charges_nothing`, `guarantees::every_end_releases_everything` |
//! | an IPv4-mapped address has a second quota (0.56.2) | `endings::an_ipv4_mapped_address_has_no_second_quota` |
//! | on_disconnect twice (0.52), or missed in a shutdown (0.55.1); on_connect skipped (0.57) | `guarantees::order_and_exactly_once::whatever_three_nodes_do_to_each_other`, `wire_end::an_abort_and_a_shutdown_without_grace_in_one_turn_end_a_connection_once` |
//! | a new connection damaged by the clean-up of the old one with its address (0.54.4) | `endings::an_address_that_connects_again_does_not_suffer_from_its_former_connection` |
//! | a connection admitted during a shutdown (0.54.5) | `endings::who_connects_during_the_grace_of_a_shutdown_is_not_let_in` |
//! | an idle listener holds a place among the connects (0.57) | `contracts::entrance::a_listener_that_waits_and_a_connect_that_succeeded_hold_no_place_among_the_connects` |
//! | "already connected" masked by a limit (0.57) | `admission::duplicates::an_address_that_is_being_connected_is_not_connected_again` |
//! | listening after a shutdown panics (0.54.4, 0.55.2) | `face::shutting_down::nobody_comes_in_or_goes_out_from_the_call_on` |
//! | a missing address panics (0.52) | `contracts::views::to_listen_on_nothing_is_an_error` |
//! | busy loop on errors of accept (0.53) | `guarantees::stopping_early::for_want_of_descriptors_ends_by_itself` |
//! | unbounded accepts (0.54.4) | `guarantees::one_hot_peer::that_is_accepted_in_crowds_does_not_delay_a_small_message`, `guarantees::stopping_early::for_want_of_an_accept_budget_loses_no_connection` |
//! | log flood (0.54) | `logs::what_a_peer_can_cause_is_logged_at_debug_at_most`, `logs::a_flood_of_messages_and_refused_sends_is_not_logged_at_all` |
//! | an end of stream not taken for one (0.20.3) | `wire_in::frames_before_a_fin_are_all_delivered` |
//! | off by one in reading frames (0.26.1) | `wire_in::every_split_of_a_short_stream_gives_the_same_frames` |
//! | connections that nobody reads dropped at once (0.36) | `contracts::views::a_paused_peer_delivers_and_counts_nothing_and_stays` |
//! | reading before the connection is established (0.16.2) | `wire_in::frames_and_a_fin_that_arrive_together_with_the_connection_we_opened_are_all_delivered` |
//! | a zero queue found late (0.57.2) | `face::settings::one_that_cannot_work_is_named_before_anything_is_started` |
//! | what is left at the end of the stream not told (0.56.1) | `wire_in::a_fin_in_the_middle_of_a_frame_tells_how_much_of_it_had_arrived` |
//! | a write that starves without a timeout (0.53) | `deadlines::write_stall::a_peer_that_takes_nothing_is_ended_and_not_too_early` |
//! | hang when a teardown is interrupted (0.57) | `face::shutting_down::dropping_a_node_closes_everything_without_a_callback`, `face::shutting_down::ends_what_is_left_when_the_grace_is_over_and_not_earlier` |
//!
//! | complaint (where) | guarded by |
//! |---|---|
//! | memory without bound for slow readers (gnet, nbio, netty, ws-rs, jvm-libp2p) | `wire_end::a_peer_that_does_not_read_fills_the_queue_to_its_cap_and_gets_all_of_it_later`, `face::sending::all_queues_together_have_a_cap_and_those_refused_hear_when_there_is_room` |
//! | writes of other threads escape the count (netty) | `flooding::messages_from_other_threads_have_a_cap_in_bytes` |
//! | the application cannot choose to close (gnet, uWS) | `flooding::a_policy_to_close_ends_a_peer_that_cannot_keep_up` |
//! | a drain without a crossing (uWebSockets.js, netty) | `face::sending::without_a_crossing_there_is_no_drain`, `face::sending::a_drain_comes_once_each_time_the_high_mark_was_passed` |
//! | resume is broken (uWS), "do not read now" and edges (gnirehtet) | `guarantees::stopping_early::to_pause_at_random_loses_nothing` |
//! | interest in reading and writing depend on each other (netpoll) | `reading_and_writing::a_paused_peer_is_still_written_to` |
//! | no timeouts (gnet), none for connects (gnet) | `contracts::patience`, `face::connecting::a_connect_has_a_timeout_of_its_own` |
//! | dripped bytes keep a peer alive | `deadlines::idle::bytes_that_make_no_whole_message_do_not` |
//! | the idle timer ends active slow transfers (lori) | `deadlines::write_stall::while_something_is_queued_the_idle_deadline_waits`, `deadlines::write_stall::a_peer_that_takes_a_little_now_and_then_is_served_to_the_end` |
//! | one accept per event (mio, libuv) | `reading_and_writing::all_who_connected_before_a_turn_are_accepted_although_there_is_one_event` |
//! | deaf after backpressure, a missed FIN (mio, lori) | `guarantees::stopping_early::for_want_of_a_write_budget_loses_nothing`, `wire_in::frames_before_a_fin_are_all_delivered_within_any_read_budget` |
//! | starvation by one peer (gnet, twemproxy, h2o, libuv) | `guarantees::one_hot_peer::that_floods_does_not_delay_a_small_message` |
//! | more sockets ready than the poller's batch holds (flux) | `reading_and_writing::two_thousand_sockets_that_are_ready_at_once_are_all_served` |
//! | data for the wrong peer, stale events, reused slots (gnet, mio, uWS) | `guarantees::stale_ids::every_call_with_one_misses_and_the_new_peer_gets_nothing`, `guarantees::stale_ids::a_slot_is_not_used_again_in_the_turn_in_which_it_was_freed` |
//! | send and close from callbacks crash (uWS) | `guarantees::no_callback_from_inside_a_call::whatever_is_called_from_whichever_callback` |
//! | what on_disconnect sends to others is left lying | `endings::what_on_disconnect_sends_to_others_leaves_in_the_same_turn` |
//! | a graceful close drops the queue (lori), a delayed close (gnet) | `wire_end::a_close_sends_all_that_was_queued_and_a_clean_end_to_a_peer_that_never_stops_sending` |
//! | close during connect is ignored or misreported (lori) | `face::connecting::one_that_is_given_up_fails_once_and_never_connects` |
//! | the outcome of a send lies (lori) | `wire_end::tracked_sends_to_a_peer_that_reads_half_and_resets_are_split_where_it_happened` |
//! | messages after a close (lori) | `guarantees::nothing_after_a_close::for_frames_of_the_same_read` |
//! | how do I stop, or disconnect one client (uWebSockets.js, message-io) | `face::shutting_down::gracefully_lets_everything_leave_that_was_queued`, `wire_end::an_abort_resets_the_peer_and_is_reported_once` |
//! | EMFILE panics, stops or spins (message-io, gnet, bun) | `guarantees::stopping_early::for_want_of_descriptors_loses_no_connection` |
//! | the loop blocks a game (message-io) | `embedding::a_game_loop_of_turns_without_a_wait_never_blocks`, `face::embedding::nested_in_another_loop_nothing_is_missed` |
//! | wakes coalesce, and one is lost (mio) | `embedding::a_hundred_commands_for_a_sleeping_loop_cost_one_wake`, `handle::every_command_wakes_a_sleeping_loop` |
//! | connect or name resolution blocks the loop (message-io, libzmq) | settled by the types: `connect` takes numeric addresses and returns at once |
//! | timers race with their cancellation (message-io) | `face::timers::one_that_is_due_can_still_be_cancelled_by_another`, `face::timers::to_cancel_one_that_has_fired_leaves_its_successor_alone` |
//! | deadlock when both only send (iroha, fedimint) | `flooding::two_nodes_that_flood_each_other_until_refused_never_deadlock`, `lifecycle::two_nodes_that_only_send_do_not_wait_for_each_other` |
//! | memory of idle connections (Kestrel, netty, nbio) | `memory::a_partial_frame_costs_what_arrived_and_an_idle_connection_nothing` |
//! | control frames dropped at the cap (uWS) | does not apply: there are none |
//! | TLS (gnet, message-io), balance between loops (gnet, seastar, envoy) | do not apply yet: there are neither sessions nor shards |

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::util::{
    Event, PATIENCE, Recorder, TestNode, listening, node, pair, raw, run_until, unlimited_time,
};
use log::{Level, LevelFilter, Log, Metadata, Record};
use peerloop::config::{
    CommandQueueConfig, ConnectionConfig, Limits, OnFull, SendQueueConfig, SocketConfig, Timeouts,
};
use peerloop::{Bytes, Config, ConnId, DisconnectReason, Net, SendError, Turn};
use socket2::{Domain, Socket, Type};

/// A frame of the default framing.
fn frame(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a short body");
    [&len.to_be_bytes(), body].concat()
}

fn messages(node: &TestNode) -> usize {
    node.handler()
        .count(|event| matches!(event, Event::Message(..)))
}

/// Only what must be: none that a test does not set itself.
fn no_timeouts() -> Timeouts {
    Timeouts {
        idle: None,
        partial_message: None,
        write_stall: None,
        ..Timeouts::default()
    }
}

mod flooding {
    use super::*;

    /// Sends whenever it is called until it is refused, and stops the node after some messages or at the end.
    fn flooder() -> Recorder {
        let mut received = 0;
        let mut body = vec![7_u8; 1000];
        Recorder::reacting(move |net, event| match event {
            Event::Connect(conn) | Event::Message(conn, _) | Event::Drain(conn) => {
                received += usize::from(matches!(event, Event::Message(..)));
                body[0] = body[0].wrapping_add(1);
                while net.send(*conn, &body).is_ok() {}
                if received == 5000 {
                    net.shutdown(Duration::ZERO);
                }
            }
            Event::Disconnect(..) => net.shutdown(Duration::ZERO),
            _ => {}
        })
    }

    #[test]
    fn two_nodes_that_flood_each_other_until_refused_never_deadlock() {
        let config = Config {
            sockets: SocketConfig {
                send_buffer_bytes: Some(8192),
                receive_buffer_bytes: Some(8192),
                ..Default::default()
            },
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    high_bytes: 32 * 1024,
                    low_bytes: 16 * 1024,
                    max_bytes: 64 * 1024,
                    ..Default::default()
                },
                ..Default::default()
            },
            ..Config::default()
        };
        let (a, _, b, _) = pair(config, flooder(), flooder());
        let (stopped, stops) = mpsc::channel();
        for mut node in [a, b] {
            let stopped = stopped.clone();
            thread::spawn(move || {
                node.run().expect("it runs");
                stopped.send(messages(&node)).expect("somebody waits");
            });
        }
        let received = [(); 2].map(|()| stops.recv_timeout(PATIENCE).expect("it goes on"));
        assert!(received.iter().any(|count| *count >= 5000), "{received:?}");
    }

    #[test]
    fn a_policy_to_close_ends_a_peer_that_cannot_keep_up() {
        let config = Config {
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    on_full: OnFull::Disconnect,
                    high_bytes: 64 * 1024,
                    max_bytes: 128 * 1024,
                    ..Default::default()
                },
                ..Default::default()
            },
            sockets: SocketConfig {
                send_buffer_bytes: Some(8192),
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::default());
        let _peer = raw::connect_narrow(addr);
        let conn = raw::accepted(&mut node);
        let mut sent = Ok(());
        while sent.is_ok() {
            sent = node.net().send(conn, &[7; 10_000]);
        }
        assert_eq!(sent, Err(SendError::Full));
        let reason = raw::until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::SendQueueFull);
        let metrics = node.net().metrics();
        assert_eq!((metrics.send_queue_overflows, metrics.queued_bytes), (1, 0));
        assert!(metrics.max_queued_bytes <= (128 + 64) * 1024);
    }

    #[test]
    fn messages_from_other_threads_have_a_cap_in_bytes() {
        let config = Config {
            commands: CommandQueueConfig {
                max_bytes: 1000,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, conn, mut peer) = raw::wire(config, Recorder::default());
        let handle = node.handle();
        let body = |len| Bytes::from(vec![7; len]);
        handle.send(conn, body(600)).unwrap();
        assert_eq!(handle.send(conn, body(600)), Err(SendError::Full));
        handle.send(conn, body(400)).unwrap();
        raw::settle(&mut node);
        handle
            .send(conn, body(5000))
            .expect("one in an empty queue");
        assert_eq!(handle.send(conn, body(1)), Err(SendError::Full));
        raw::settle(&mut node);
        let mut received = vec![0; 6000 + 3 * 4];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(node.net().metrics().commands, 3);
    }
}

mod reading_and_writing {
    use super::*;

    #[test]
    fn a_paused_peer_is_still_written_to() {
        let config = Config {
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    max_bytes: 16 * 1024 * 1024,
                    ..Default::default()
                },
                timeouts: no_timeouts(),
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, conn, mut peer) = raw::wire(config, Recorder::default());
        node.net().pause(conn);
        peer.write_all(&frame(b"unheard")).unwrap();
        let body = vec![7; 8 * 1024 * 1024];
        node.net().send(conn, &body).unwrap();
        let reader = thread::spawn(move || {
            let mut received = vec![0; 4 + 8 * 1024 * 1024];
            peer.read_exact(&mut received).expect("all of it");
            peer
        });
        run_until([&mut node], |_| reader.is_finished());
        let _peer = reader.join().unwrap();
        assert_eq!(messages(&node), 0);
        node.net().resume(conn);
        run_until([&mut node], |[node]| messages(node) == 1);
    }

    #[test]
    fn two_thousand_sockets_that_are_ready_at_once_are_all_served() {
        const PEERS: usize = 2000;
        let config = Config {
            limits: Limits {
                max_connections_per_address: PEERS,
                ..Default::default()
            },
            budget: unlimited_time(),
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::default());
        let mut peers: Vec<TcpStream> = Vec::with_capacity(PEERS);
        while peers.len() < PEERS {
            peers.extend((0..500).map(|_| TcpStream::connect(addr).expect("it listens")));
            run_until([&mut node], |[node]| {
                node.net().connection_count() == peers.len()
            });
        }
        for round in 1..=2 {
            for peer in &mut peers {
                peer.write_all(&frame(b"now")).unwrap();
            }
            // Loopback delivers within the call: everything is there before the node looks, in more than one batch of
            // the poller's, and no deadline is looked at before all of it is known.
            let before = node.net().metrics().turns;
            run_until([&mut node], |[node]| messages(node) == round * PEERS);
            assert_eq!(node.net().metrics().turns - before, 1);
        }
        let served = node.handler().connected();
        assert!(served.iter().all(|conn| {
            node.net()
                .connection(*conn)
                .unwrap()
                .traffic()
                .messages_received
                == 2
        }));
    }

    #[test]
    fn all_who_connected_before_a_turn_are_accepted_although_there_is_one_event() {
        let config = Config {
            budget: unlimited_time(),
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::default());
        raw::settle(&mut node);
        let peers = [(); 60].map(|()| raw::connect(addr));
        assert!(peers.len() < node.net().config().budget.accepts);
        let _ = node.turn(Some(PATIENCE)).unwrap();
        assert_eq!(node.handler().connected().len(), peers.len());
    }
}

mod endings {
    use super::*;

    fn everybody(net: &Net) -> Vec<ConnId> {
        net.connections().map(|c| c.id()).collect()
    }

    #[test]
    fn what_on_disconnect_sends_to_others_leaves_in_the_same_turn() {
        let handler = Recorder::reacting(|net, event| {
            if let Event::Disconnect(..) = event {
                let others = everybody(net);
                assert_eq!(net.broadcast(others, b"gone").queued, 1);
            }
        });
        let (mut node, conn, peer) = raw::wire(Config::default(), handler);
        let addr = node.net().listeners().next().unwrap().addr;
        let (_, mut other) = raw::join(&mut node, addr);
        drop(peer);
        while node.handler().ended(conn).is_none() {
            let _ = node.turn(Some(PATIENCE)).unwrap();
        }
        let mut received = [0; 8];
        other.read_exact(&mut received).expect("it has left");
        assert_eq!(received[..], frame(b"gone"));
    }

    /// A peer that connects from an address of its choice.
    fn connect_from(source: Option<SocketAddr>, addr: SocketAddr) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&source.unwrap_or(any).into()).unwrap();
        socket.connect(&addr.into()).expect("somebody listens");
        socket.into()
    }

    #[test]
    fn an_address_that_connects_again_does_not_suffer_from_its_former_connection() {
        let config = Config {
            limits: Limits {
                max_connections_per_address: 2,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        let mut peer = connect_from(None, addr);
        let source = peer.local_addr().unwrap();
        let mut former = raw::accepted(&mut node);
        for round in 0..5 {
            raw::reset(peer);
            // The node learns of the end and of the successor in the same turn.
            peer = connect_from(Some(source), addr);
            let conn = raw::accepted(&mut node);
            assert_eq!(raw::until_ended(&mut node, former), DisconnectReason::Reset);
            assert_eq!(node.net().connection(conn).unwrap().info().addr, source);
            assert_eq!(node.net().find(source), Some(conn));
            let body = [round];
            raw::feed(&mut node, &mut peer, &frame(&body));
            let mut answer = [0; 5];
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(answer[..], frame(&body));
            assert_eq!(node.net().connection_count(), 1);
            former = conn;
        }
        let metrics = node.net().metrics();
        assert_eq!((metrics.accepted, metrics.refused_by_address), (6, 0));
    }

    #[test]
    fn who_connects_during_the_grace_of_a_shutdown_is_not_let_in() {
        let (mut node, conn, peer) = raw::wire(Config::default(), Recorder::default());
        let addr = node.net().listeners().next().unwrap().addr;
        let waiting = raw::connect(addr);
        node.net().shutdown(Duration::from_secs(3600));
        raw::settle(&mut node);
        TcpStream::connect(addr).expect_err("nobody listens any more");
        assert_eq!(node.handler().ended(conn), None, "it waits for the peer");
        drop((peer, waiting));
        node.run().unwrap();
        assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Shutdown));
        // Who had connected before may have been let in, and is shut out as everybody; nobody is let in for good.
        let connected = node.handler().connected().len();
        let ended = node
            .handler()
            .count(|event| matches!(event, Event::Disconnect(..)));
        assert_eq!(connected, ended);
        assert_eq!(node.net().connection_count(), 0);
    }

    #[test]
    fn an_ipv4_mapped_address_has_no_second_quota() {
        let config = Config {
            limits: Limits {
                max_connections_per_address: 1,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, plain) = listening(config, Recorder::default());
        let Ok(dual) = node.net().listen("[::]:0") else {
            eprintln!("not shown: this machine has no IPv6");
            return;
        };
        let mapped = SocketAddr::from(([127, 0, 0, 1], dual.addr.port()));
        for (first, second) in [(plain, mapped), (mapped, plain)] {
            let refused = node.net().metrics().refused_by_address;
            let (conn, peer) = raw::join(&mut node, first);
            let surplus = raw::connect(second);
            run_until([&mut node], |[node]| {
                node.net().metrics().refused_by_address == refused + 1
            });
            assert_eq!(node.net().connection_count(), 1);
            drop((peer, surplus));
            raw::until_ended(&mut node, conn);
        }
    }
}

mod embedding {
    use super::*;

    #[test]
    fn a_game_loop_of_turns_without_a_wait_never_blocks() {
        let (done, finished) = mpsc::channel();
        thread::spawn(move || {
            let (mut game, conn, mut server, _) =
                pair(Config::default(), Recorder::default(), Recorder::echo());
            // Whoever waits for this one is not done in time.
            game.net().set_timer(Duration::from_secs(3600), 0);
            let mut frames = 0;
            while frames < 1000 || messages(&game) < 1000 {
                frames += 1;
                if frames <= 1000 {
                    game.net().send(conn, b"position").unwrap();
                }
                while game.turn(Some(Duration::ZERO)).unwrap() == Turn::MoreWork {}
                let _ = server.turn(Some(Duration::ZERO)).unwrap();
            }
            for _ in 0..1000 {
                assert_eq!(game.turn(Some(Duration::ZERO)).unwrap(), Turn::Waiting);
            }
            done.send(()).expect("somebody waits");
        });
        finished.recv_timeout(PATIENCE).expect("nothing blocks");
    }

    #[test]
    fn a_hundred_commands_for_a_sleeping_loop_cost_one_wake() {
        let mut node = node(Config::default(), Recorder::default());
        raw::settle(&mut node);
        let handle = node.handle();
        for round in 1..=3 {
            for _ in 0..100 {
                handle.post(|_, _| {}).unwrap();
            }
            run_until([&mut node], |[node]| {
                node.net().metrics().commands == round * 100
            });
            raw::settle(&mut node);
            let metrics = node.net().metrics();
            let wakes = (metrics.wakes_sent, metrics.wakes_saved);
            assert_eq!(wakes, (round, round * 99));
        }
    }
}

/// What may be logged, and how loudly.
mod logs {
    use super::*;
    use crate::util::child::{self, test_path};

    /// Keeps the lines of the nodes whose name begins so.
    const MARK: &str = "watched-";

    struct Watcher(Mutex<Vec<(Level, String)>>);

    impl Log for Watcher {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            let line = record.args().to_string();
            if line.starts_with(MARK) {
                assert_eq!(record.target(), "peerloop");
                let mut lines = self.0.lock().expect("no test panics in it");
                lines.push((record.level(), line));
            }
        }

        fn flush(&self) {}
    }

    static WATCHER: Watcher = Watcher(Mutex::new(Vec::new()));

    /// The lines about one node.
    fn lines(name: &str) -> Vec<(Level, String)> {
        let lines = WATCHER.0.lock().expect("no test panics in it");
        let about = |line: &&(Level, String)| line.1.starts_with(name);
        lines.iter().filter(about).cloned().collect()
    }

    fn watched(name: &str, config: Config, handler: Recorder) -> (TestNode, SocketAddr) {
        log::set_logger(&WATCHER).expect("the only one");
        log::set_max_level(LevelFilter::Trace);
        let config = Config {
            name: name.to_owned(), // The machine may be slow, and that is not the peers' doing.
            slow_turn: None,
            ..config
        };
        listening(config, handler)
    }

    /// Everything a peer can do that ends it or keeps it out.
    fn misbehave(node: &mut TestNode, addr: SocketAddr) {
        let attacks: [&[u8]; 3] = [&[0xff; 64], &[0, 0, 0, 9, 1], &[0]];
        for attack in attacks {
            let (conn, mut peer) = raw::join(node, addr);
            peer.write_all(attack).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            raw::until_ended(node, conn);
        }
        let (conn, peer) = raw::join(node, addr);
        raw::reset(peer);
        raw::until_ended(node, conn);
        let (silent, peers) = raw::join(node, addr);
        let surplus = raw::connect(addr);
        run_until([node], |[node]| node.net().metrics().refused_by_total > 0);
        raw::until_ended(node, silent);
        drop((peers, surplus));
        let early = raw::connect(addr);
        raw::reset(early);
    }

    #[test]
    fn what_a_peer_can_cause_is_logged_at_debug_at_most() {
        child::alone(
            test_path!(what_a_peer_can_cause_is_logged_at_debug_at_most),
            log_what_a_peer_causes,
        );
    }

    fn log_what_a_peer_causes() {
        let name = "watched-hostile";
        let config = Config {
            limits: Limits {
                max_connections: 1,
                ..Default::default()
            },
            connection: ConnectionConfig {
                timeouts: Timeouts {
                    idle: Some(Duration::from_millis(500)),
                    ..Timeouts::default()
                },
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = watched(name, config, Recorder::default());
        misbehave(&mut node, addr);
        let metrics = node.net().metrics();
        let counted = [
            metrics.framing_errors,
            metrics.resets.min(1),
            metrics.idle_timeouts,
        ];
        assert_eq!(counted, [1, 1, 1]);
        let lines = lines(name);
        let loud: Vec<_> = lines
            .iter()
            .filter(|(level, _)| *level < Level::Debug)
            .collect();
        // What the program itself asked for, and nothing else.
        assert_eq!(loud.len(), 1, "{loud:?}");
        assert!(loud[0].1.contains("listening"), "{loud:?}");
        assert!(lines.len() > 5, "{lines:?}");
    }

    #[test]
    fn a_flood_of_messages_and_refused_sends_is_not_logged_at_all() {
        child::alone(
            test_path!(a_flood_of_messages_and_refused_sends_is_not_logged_at_all),
            flood_and_refuse,
        );
    }

    fn flood_and_refuse() {
        let name = "watched-flooded";
        let handler = Recorder::reacting(|net, event| {
            if let Event::Message(conn, _) = event {
                let _ = net.send(*conn, &[7; 10_000]);
            }
        });
        let config = Config {
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    high_bytes: 32 * 1024,
                    low_bytes: 16 * 1024,
                    max_bytes: 64 * 1024,
                    ..Default::default()
                },
                ..Default::default()
            },
            sockets: SocketConfig {
                send_buffer_bytes: Some(8192),
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = watched(name, config, handler);
        let mut peer = raw::connect_narrow(addr);
        raw::accepted(&mut node);
        let before = lines(name).len();
        raw::pour(&mut node, &mut peer, &frame(b"more").repeat(5000));
        run_until([&mut node], |[node]| messages(node) == 5000);
        assert!(node.net().metrics().sends_refused > 1000);
        assert_eq!(lines(name).len(), before);
    }
}
