//! What pea2pea's own tests show, row by row, and where it is shown here.
//!
//! The rows are those of pea2pea 0.57.2: files of its `tests/`, and the unit tests in its `src`. A test is named by its
//! file (`limits` and the like: unit tests below `src/`), its modules and its function; those without a file are in
//! this one.
//!
//! | `general.rs` | shown by |
//! |---|---|
//! | node_name_gets_auto_assigned, given_node_name_remains_unchanged | `face::settings::those_that_were_made_are_those_that_are_read` |
//! | connect_using_custom_socket | `face::connecting::with_a_socket_bound_by_the_caller`, `face::connecting::from_a_source_address` |
//! | listener_toggling | `views::a_listener_comes_and_goes_three_times_and_connections_stay` |
//! | simple_connect_and_disconnect | `lifecycle::a_connection_begins_talks_and_ends_in_order_on_both_sides` |
//! | disconnect_isolates_peer | `views::to_close_one_of_three_leaves_the_two_others_as_they_were` |
//! | node_stats_survive_disconnect, message_stats | `face::sending::counters_agree_on_both_ends_and_the_nodes_survive_the_connections` |
//! | state_views_stay_consistent | `face::looking_around::the_views_agree_while_peers_come_and_go` |
//! | is_connecting_is_observable | `face::connecting::what_is_never_answered_times_out_and_not_too_early`, `face::connecting::sends_to_a_connect_under_way_are_refused` |
//! | self_connection_fails | `admission::self_connections::are_refused_on_both_ends` |
//! | duplicate_connection_fails | `admission::duplicates::an_address_that_is_connected_is_not_connected_again` |
//! | two_way_connection_works | `lifecycle::two_nodes_that_connect_to_each_other_have_two_connections` |
//! | conn_limit_rejects_on_both_sides, inbound_rejection_is_recorded_in_heuristics | `entrance::the_surplus_of_a_full_node_is_refused_on_both_sides_and_counted` |
//! | max_connections_per_ip_is_distinct | `admission::limits::an_address_at_its_limit_is_refused_and_another_one_is_not` |
//! | overlapping_duplicate_connection_attempts_fail | `admission::duplicates::an_address_that_is_being_connected_is_not_connected_again` |
//! | shutdown_closes_the_listener, shutdown_clears_state | `views::nothing_is_left_and_the_port_is_free_once_a_node_has_stopped` |
//! | test_nodes_use_localhost | I: no feature changes a default here |
//! | connection_timeout_works | `face::connecting::what_is_never_answered_times_out_and_not_too_early` |
//! | max_connections_race_condition | `admission::limits::fifty_connects_at_once_never_pass_the_limit` |
//! | max_connecting_limit_rejects_new_attempts | `admission::limits::connects_under_way_are_limited_and_hold_nobody_up_an_inbound_peer`, `face::shutting_down::connects_under_way_fail_with_that_reason_and_are_never_disconnected` |
//! | toggle_listener_without_addr_errors | `views::to_listen_on_nothing_is_an_error` |
//! | disconnect_unknown_addr_returns_false, connection_info_unknown_addr_returns_none, unicast_returns_not_connected_for_unknown_peer | `guarantees::stale_ids::every_call_with_one_misses_and_the_new_peer_gets_nothing` |
//! | shut_down_is_idempotent | `face::shutting_down::the_shortest_grace_counts_however_often_it_is_asked` |
//! | connect_after_shut_down_is_rejected | `face::shutting_down::nobody_comes_in_or_goes_out_from_the_call_on`, `entrance::refusals_become_the_io_errors_that_say_the_same` |
//! | connection_info_side_reflects_role | `lifecycle::a_connection_begins_talks_and_ends_in_order_on_both_sides` (our own role, not the peer's) |
//! | drops_messages_wo_backpressure | L: messages are delivered as they are read, and none is ever dropped |
//! | outbound_queue_saturation | `wire_end::a_peer_that_does_not_read_fills_the_queue_to_its_cap_and_gets_all_of_it_later` |
//! | idle_timeout_drops_silent_connection | `deadlines::idle::a_silent_peer_is_ended_and_not_too_early` |
//! | idle_timeout_zero_disables_timeout | `deadlines::with_all_deadlines_off_none_is_set_in_any_state` (`None` does) |
//! | write_timeout_propagates_to_delivery | `patience::a_peer_that_takes_nothing_is_given_up_and_its_sends_are_told_lost` |
//! | writing_methods_return_unsupported_when_not_enabled | settled by the types: every node can write |
//! | simple_broadcast | `views::a_periodic_broadcast_reaches_readers_that_join_meanwhile` |
//! | line, ring, mesh, star, grid, tree_conn_counts | `lifecycle::every_topology_gives_its_connections` |
//! | random_conn_counts | `views::a_random_network_gives_every_node_at_least_its_degree` |
//! | connect_nodes_with_too_few_nodes_errors, topology_grid_dimension_mismatch_errors, topology_random_degree_too_high_errors, num_expected_connections_zero_nodes | `topology::tests::impossible_shapes_are_refused` |
//!
//! | `protocols.rs` | shown by |
//! |---|---|
//! | messaging_example, on_connect_message | `views::an_echo_answers_what_is_new_and_a_greeting_is_received` |
//! | drop_connection_on_invalid_message | `wire_in::an_attack_is_refused_on_its_header_and_closes_nobody_else`, `guarantees::stale_ids::every_call_with_one_misses_and_the_new_peer_gets_nothing` |
//! | drop_connection_on_zero_read | `wire_in::frames_before_a_fin_are_all_delivered` |
//! | no_reading_no_delivery | `views::a_paused_peer_delivers_and_counts_nothing_and_stays` |
//! | no_writing_no_delivery | `wire_end::after_close_write_the_peer_sees_the_end_behind_all_data_and_is_still_heard` |
//! | handshake_guards_connect | `sessions::before_and_after::a_handshake_on_one_side_only_connects_nobody`, `sessions::before_and_after::the_identity_is_there_in_on_connect`, `sessions::bursts::what_comes_with_the_end_of_a_handshake_follows_on_connect` |
//! | failed_handshake_blocks_reading_and_writing | `session::refused::refusal_sends_alert_and_drops_the_message` |
//! | successful_handshake_releases_connecting_slot | `sessions::places::a_connect_whose_handshake_succeeded_or_failed_gives_its_place_back`, `entrance::a_listener_that_waits_and_a_connect_that_succeeded_hold_no_place_among_the_connects` |
//! | timeout_when_spammed_with_connections | `timeouts::handshake::hundred_silent_peers_time_out`, `patience::a_hundred_connects_that_are_never_answered_end_and_are_counted` |
//! | idle_timeout_is_recorded_in_heuristics | `deadlines::idle::a_silent_peer_is_ended_and_not_too_early` |
//! | handshake_failure_releases_connecting_slot | `sessions::places::a_connect_whose_handshake_succeeded_or_failed_gives_its_place_back`, `entrance::a_connect_that_failed_gives_its_place_back` |
//! | connect_doesnt_wait_for_on_connect_hook, on_connect_non_abortable_runs_to_completion, on_connect_abortable_is_cancelled_on_disconnect, cancelled_connect_keeps_on_connect_abortable, on_disconnect_timeout_aborts_slow_hook | I: a callback runs to its end before anything else does |
//! | cancelled_disconnect_still_tears_down | I: no call can be cancelled; that the place is free: `guarantees::every_end_releases_everything::an_abort` |
//! | on_disconnect_fires_on_both_sides, disconnect_origin_reflects_source | `lifecycle::a_connection_begins_talks_and_ends_in_order_on_both_sides` |
//!
//! | `user_side_bugs.rs` | shown by |
//! |---|---|
//! | broken_handshake_impl | `panics::session` |
//! | broken_reading_codec | `faults_of_the_users_code::a_panic_in_a_framers_decode_ends_that_connection_only` |
//! | broken_reading_impl | `faults_of_the_users_code::a_panic_in_on_message_ends_that_connection_only` |
//! | broken_writing_impl | `faults_of_the_users_code::a_panic_in_a_framers_encode_ends_that_connection_only` |
//! | broken_on_connect_impl | `faults_of_the_users_code::a_panic_in_on_connect_ends_that_connection_only` |
//! | broken_on_disconnect_impl | `faults_of_the_users_code::a_panic_in_on_disconnect_leaves_nothing_of_the_connection` |
//! | (none: a connect's failure is an error there) | `faults_of_the_users_code::a_panic_in_on_connect_failed_is_contained_too` |
//! | duplicative_node_owner | I: settled by the types, a node has one handler |
//!
//! | elsewhere | shown by |
//! |---|---|
//! | `cleanups.rs`: check_node_cleanups | `cycles::a_thousand_cycles_leave_no_descriptor_no_connection_and_no_byte_behind` in `tests/memory-bounds` |
//! | `chaos.rs`: infinite_chaos | `chaos::whatever_a_pool_of_nodes_does_every_promise_holds_and_nothing_is_left`, `guarantees::order_and_exactly_once::whatever_three_nodes_do_to_each_other` |
//! | completed_guard_drop_after_concurrent_decrement_is_a_noop | I: nothing here is concurrent |
//! | failed_guard_drop_decrements | `guarantees::every_end_releases_everything::a_connect_that_is_refused`, `guarantees::every_end_releases_everything::a_connect_that_is_cancelled` |
//! | per_ip_count_tracks_multiple_addrs | `limits::tests::two_ports_of_an_address_share_one_count` |
//! | ipv4_mapped_v6_shares_the_native_v4_bucket | `limits::tests::a_mapped_address_counts_as_its_ipv4_address` |
//! | zero_max_connections, _per_ip, max_connecting_is_rejected | `config::node::tests::a_zero_is_named` (an error, not a panic) |
//! | excessive_max_connecting_is_clamped | `entrance::more_connects_than_connections_may_be_allowed_and_come_to_no_more` |
//! | cancelled_shut_down_aborts_node_tasks | I: there are no tasks; dropping a node is enough: `face::shutting_down::dropping_a_node_closes_everything_without_a_callback` |
//! | exhausted_connecting_budget_is_signalled | `admission::limits::connects_under_way_are_limited_and_hold_nobody_up_an_inbound_peer`, `entrance::refusals_become_the_io_errors_that_say_the_same` |
//! | idle_listener_does_not_hold_the_connect_budget | `entrance::a_listener_that_waits_and_a_connect_that_succeeded_hold_no_place_among_the_connects` |

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::util::{Event, Recorder, TestNode, listening, node, pair, raw, run_for, run_until};
use peerloop::config::{ConnectionConfig, Limits, Timeouts};
use peerloop::error::{FramingError, TimeoutKind};
use peerloop::framing::{Decoded, Framer, Framing};
use peerloop::topology::Topology;
use peerloop::{Config, ConnId, ConnectError, DisconnectReason, Metrics, SendOutcome, Turn};
use socket2::{Domain, Socket, Type};

/// A frame of the default framing.
fn frame(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a short body");
    [&len.to_be_bytes(), body].concat()
}

/// A listener whose queue is full, so that a connect to it is never answered; and what fills it.
fn saturated() -> (Socket, SocketAddr, Vec<TcpStream>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let connect = || TcpStream::connect_timeout(&addr, Duration::from_millis(50)).ok();
    let crowd: Vec<TcpStream> = std::iter::from_fn(connect).take(20).collect();
    assert!(crowd.len() < 20, "the queue has a limit");
    (listener, addr, crowd)
}

/// An address that refuses every connect: its socket is bound and does not listen.
fn nobody() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

fn ends(node: &TestNode) -> usize {
    node.handler()
        .count(|event| matches!(event, Event::Disconnect(..)))
}

fn failures(node: &TestNode) -> usize {
    node.handler()
        .count(|event| matches!(event, Event::ConnectFailed(..)))
}

/// Which deadlines ended how many connections: connect, idle, partial frame, write stall, linger.
fn timeouts(metrics: Metrics) -> [u64; 5] {
    [
        metrics.connect_timeouts,
        metrics.idle_timeouts,
        metrics.partial_message_timeouts,
        metrics.write_stall_timeouts,
        metrics.linger_timeouts,
    ]
}

mod views {
    use super::*;

    #[test]
    fn a_listener_comes_and_goes_three_times_and_connections_stay() {
        let mut server = node(Config::default(), Recorder::echo());
        let mut peers = Vec::new();
        for round in 1..=3 {
            assert_eq!(server.net().listeners().count(), 0);
            let listening = server.net().listen("127.0.0.1:0").unwrap();
            peers.push(raw::join(&mut server, listening.addr));
            server.net().close_listener(listening.id);
            assert_eq!(server.net().listeners().count(), 0);
            server.net().close_listener(listening.id);
            TcpStream::connect(listening.addr).expect_err("the port is closed");
            assert_eq!(server.net().connection_count(), round);
        }
        for (conn, mut peer) in peers {
            raw::feed(&mut server, &mut peer, &frame(b"still here"));
            let mut answer = [0; 14];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(answer[..], frame(b"still here"));
            server.net().abort(conn);
            assert_eq!(raw::until_ended(&mut server, conn), DisconnectReason::Local);
        }
    }

    #[test]
    fn to_close_one_of_three_leaves_the_two_others_as_they_were() {
        let (mut node, addr) = listening(Config::default(), Recorder::echo());
        let mut peers = [(); 3].map(|()| raw::join(&mut node, addr));
        let gone = peers[1].0;
        node.net().abort(gone);
        raw::until_ended(&mut node, gone);
        let left: Vec<ConnId> = node.net().connections().map(|c| c.id()).collect();
        assert_eq!(left, [peers[0].0, peers[2].0]);
        assert!(node.net().connection(gone).is_none());
        let [first, _, third] = &mut peers;
        for (conn, peer) in [first, third] {
            let conn = *conn;
            let local = peer.local_addr().unwrap();
            assert_eq!(node.net().connection(conn).unwrap().info().addr, local);
            raw::feed(&mut node, peer, &frame(b"hello"));
            assert_eq!(node.handler().messages(conn), [b"hello"]);
        }
    }

    #[test]
    fn nothing_is_left_and_the_port_is_free_once_a_node_has_stopped() {
        let (mut node, addr) = listening(Config::default(), Recorder::default());
        let (conn, peer) = raw::join(&mut node, addr);
        TcpListener::bind(addr).expect_err("it is in use");
        node.net().shutdown(Duration::ZERO);
        node.net().shutdown(Duration::ZERO);
        node.run().unwrap();
        let net = node.net();
        assert_eq!((net.connection_count(), net.connecting_count()), (0, 0));
        assert_eq!((net.connections().count(), net.listeners().count()), (0, 0));
        assert!(net.connection(conn).is_none() && net.find(peer.local_addr().unwrap()).is_none());
        TcpListener::bind(addr).expect("the port is free");
    }

    #[test]
    fn to_listen_on_nothing_is_an_error() {
        let mut node = node(Config::default(), Recorder::default());
        let nothing: &[SocketAddr] = &[];
        let error = node.net().listen(nothing).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(node.turn(Some(Duration::ZERO)).unwrap(), Turn::Waiting);
    }

    #[test]
    fn a_paused_peer_delivers_and_counts_nothing_and_stays() {
        let (mut node, conn, mut peer) = raw::wire(Config::default(), Recorder::default());
        node.net().pause(conn);
        peer.write_all(&frame(b"unheard")).unwrap();
        run_for(Duration::from_millis(5), [&mut node]);
        let traffic = node.net().traffic();
        assert_eq!((traffic.messages_received, traffic.bytes_received), (0, 0));
        assert_eq!(node.net().connection_count(), 1);
        assert_eq!(ends(&node), 0);
    }

    #[test]
    fn an_echo_answers_what_is_new_and_a_greeting_is_received() {
        let greeter = Recorder::reacting(|net, event| {
            if let Event::Connect(conn) = event {
                for number in [1, 2, 2, 3] {
                    net.send(*conn, &[number]).unwrap();
                }
            }
        });
        let mut known = Vec::new();
        let echo = Recorder::reacting(move |net, event| {
            if let Event::Message(conn, message) = event {
                if !known.contains(message) {
                    known.push(message.clone());
                    net.send(*conn, message).unwrap();
                }
            }
        });
        let (mut a, to_b, mut b, to_a) = pair(Config::default(), greeter, echo);
        run_until([&mut a, &mut b], |[a, b]| {
            a.handler().messages(to_b).len() >= 3 && b.handler().messages(to_a).len() == 4
        });
        run_for(Duration::from_millis(5), [&mut a, &mut b]);
        assert_eq!(a.handler().messages(to_b), [[1], [2], [3]]);
    }

    #[test]
    fn a_periodic_broadcast_reaches_readers_that_join_meanwhile() {
        let ticker = Recorder::reacting(|net, event| {
            if let Event::Start | Event::Timer(..) = event {
                let everybody: Vec<ConnId> = net.connections().map(|c| c.id()).collect();
                let _ = net.broadcast(everybody, b"tick");
                net.set_timer(Duration::from_millis(1), 0);
            }
        });
        let (mut source, addr) = listening(Config::default(), ticker);
        let mut readers = [(); 4].map(|()| node(Config::default(), Recorder::default()));
        for joined in 1..=readers.len() {
            readers[joined - 1].net().connect(addr).unwrap();
            let [a, b, c, d] = &mut readers;
            run_until([&mut source, a, b, c, d], |[_, readers @ ..]| {
                let ticks = |node: &&mut TestNode| {
                    node.handler()
                        .count(|event| matches!(event, Event::Message(..)))
                };
                readers[..joined].iter().all(|reader| ticks(reader) >= 2)
            });
        }
    }

    #[test]
    fn a_random_network_gives_every_node_at_least_its_degree() {
        let mut nodes: [TestNode; 10] =
            std::array::from_fn(|_| node(Config::default(), Recorder::default()));
        let addrs = nodes
            .each_mut()
            .map(|node| node.net().listen("127.0.0.1:0").unwrap().addr);
        let shape = Topology::Random { degree: 2, seed: 7 };
        for (from, to) in shape.edges(nodes.len()).unwrap() {
            nodes[from].net().connect(addrs[to]).unwrap();
        }
        run_until(nodes.each_mut(), |nodes| {
            let counts = nodes.each_mut().map(|node| node.net().connection_count());
            counts.iter().sum::<usize>() == 40 && counts.iter().all(|count| *count >= 2)
        });
    }
}

mod entrance {
    use super::*;

    #[test]
    fn the_surplus_of_a_full_node_is_refused_on_both_sides_and_counted() {
        let one = Config {
            limits: Limits {
                max_connections: 1,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut server, addr) = listening(one.clone(), Recorder::default());
        let (mut first, mut second) = (
            node(one, Recorder::default()),
            node(Config::default(), Recorder::default()),
        );
        first.net().connect(addr).unwrap();
        run_until([&mut first, &mut server], |[first, server]| {
            first.net().connection_count() == 1 && server.net().connection_count() == 1
        });
        let (_other, elsewhere) = nobody();
        let refused = first.net().connect(elsewhere);
        assert_eq!(refused, Err(ConnectError::TooManyConnections));
        second.net().connect(addr).unwrap();
        run_until([&mut second, &mut server], |[second, _]| ends(second) == 1);
        assert_eq!(second.handler().connected().len(), 1);
        let metrics = server.net().metrics();
        let refusals = [
            metrics.refused_by_total,
            metrics.refused_by_address,
            metrics.refused_by_prefix,
            metrics.refused_by_handler,
        ];
        assert_eq!(refusals, [1, 0, 0, 0]);
        assert_eq!((metrics.accepted, metrics.accept_errors), (1, 0));
        assert_eq!(server.net().connection_count(), 1);
        assert_eq!(server.handler().connected().len(), 1);
    }

    #[test]
    fn a_listener_that_waits_and_a_connect_that_succeeded_hold_no_place_among_the_connects() {
        let config = Config {
            limits: Limits {
                max_outbound_connecting: 1,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut client, _) = listening(config, Recorder::default());
        for round in 1..=3 {
            let (mut server, addr) = listening(Config::default(), Recorder::default());
            client.net().connect(addr).unwrap();
            run_until([&mut client, &mut server], |[client, _]| {
                client.net().connection_count() + ends(client) == round
            });
            assert_eq!(client.net().connecting_count(), 0);
        }
    }

    #[test]
    fn a_connect_that_failed_gives_its_place_back() {
        let config = Config {
            limits: Limits {
                max_outbound_connecting: 1,
                max_connections: 1,
                max_connections_per_address: 1,
                ..Default::default()
            },
            ..Config::default()
        };
        let mut node = node(config, Recorder::default());
        let (_socket, addr) = nobody();
        for round in 1..=3 {
            node.net().connect(addr).unwrap();
            run_until([&mut node], |[node]| failures(node) == round);
            assert_eq!(node.net().connecting_count(), 0);
        }
    }

    #[test]
    fn refusals_become_the_io_errors_that_say_the_same() {
        use std::io::ErrorKind;
        let cases = [
            (ConnectError::ShuttingDown, ErrorKind::Other),
            (ConnectError::SelfConnection, ErrorKind::AddrInUse),
            (ConnectError::AlreadyConnected, ErrorKind::AlreadyExists),
            (ConnectError::AlreadyConnecting, ErrorKind::AlreadyExists),
            (ConnectError::TooManyConnecting, ErrorKind::QuotaExceeded),
            (ConnectError::TooManyConnections, ErrorKind::QuotaExceeded),
            (ConnectError::TooManyFromAddress, ErrorKind::QuotaExceeded),
            (ConnectError::TooManyFromPrefix, ErrorKind::QuotaExceeded),
            (ConnectError::TimedOut, ErrorKind::TimedOut),
        ];
        for (error, kind) in cases {
            assert_eq!(std::io::Error::from(error).kind(), kind, "{error:?}");
        }
    }

    #[test]
    fn more_connects_than_connections_may_be_allowed_and_come_to_no_more() {
        let config = Config {
            limits: Limits {
                max_outbound_connecting: 11,
                max_connections: 2,
                ..Default::default()
            },
            ..Config::default()
        };
        let mut node = node(config, Recorder::default());
        let stalled = [(); 3].map(|()| saturated());
        let connects = stalled
            .each_ref()
            .map(|(_, addr, _)| node.net().connect(*addr));
        assert!(connects[..2].iter().all(Result::is_ok));
        assert_eq!(connects[2], Err(ConnectError::TooManyConnections));
    }
}

mod patience {
    use super::*;

    fn config(timeouts: Timeouts) -> Config {
        Config {
            connection: ConnectionConfig {
                timeouts,
                ..Default::default()
            },
            ..Config::default()
        }
    }

    #[test]
    fn a_hundred_connects_that_are_never_answered_end_and_are_counted() {
        let timeouts_set = Timeouts {
            connect: Some(Duration::from_millis(100)),
            ..Timeouts::default()
        };
        let config = Config {
            allow_duplicates: true,
            ..config(timeouts_set)
        };
        let (_listener, addr, _crowd) = saturated();
        let mut node = node(config, Recorder::default());
        for _ in 0..100 {
            node.net().connect(addr).unwrap();
        }
        assert_eq!(node.net().connecting_count(), 100);
        run_until([&mut node], |[node]| failures(node) == 100);
        assert_eq!(node.net().connecting_count(), 0);
        assert_eq!(timeouts(node.net().metrics()), [100, 0, 0, 0, 0]);
    }

    #[test]
    fn a_peer_that_takes_nothing_is_given_up_and_its_sends_are_told_lost() {
        let stall = Timeouts {
            write_stall: Some(Duration::from_millis(200)),
            ..Timeouts::default()
        };
        let mut config = config(stall);
        config.sockets.send_buffer_bytes = Some(4096);
        let (mut node, addr) = listening(config, Recorder::default());
        let peer = raw::connect_narrow(addr);
        let conn = raw::accepted(&mut node);
        for token in 0..32 {
            let body = vec![7; 60_000];
            node.net().send_tracked(conn, &body[..], token).unwrap();
        }
        let reason = raw::until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::Timeout(TimeoutKind::WriteStall));
        let answers = |wanted: Option<SendOutcome>| {
            node.handler().count(|event| match event {
                Event::Sent(_, _, outcome) => wanted.is_none_or(|wanted| wanted == *outcome),
                _ => false,
            })
        };
        assert_eq!(answers(None), 32);
        assert!(answers(Some(SendOutcome::Lost)) > 0);
        assert_eq!(timeouts(node.net().metrics()), [0, 0, 0, 1, 0]);
        drop(peer);
    }
}

/// Each of them twice on one node, to show that it lives on.
mod faults_of_the_users_code {
    use super::*;

    /// A node whose handler echoes, and panics at the first two events of a kind.
    fn faulty(at: fn(&Event) -> bool) -> (TestNode, SocketAddr) {
        let mut left = 2;
        let handler = Recorder::reacting(move |net, event| {
            if left > 0 && at(event) {
                left -= 1;
                panic!("as the test wants it");
            }
            if let Event::Message(conn, message) = event {
                net.send(*conn, message).expect("the queue has room");
            }
        });
        listening(Config::default(), handler)
    }

    /// Two peers that come, talk and go run into the fault; a third is served.
    fn lives_on((mut node, addr): (TestNode, SocketAddr)) -> TestNode {
        for round in 1..=2 {
            let mut peer = raw::connect(addr);
            peer.write_all(&frame(b"unlucky")).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            run_until([&mut node], |[node]| {
                let metrics = node.net().metrics();
                (metrics.panics, metrics.disconnected) == (round, round)
            });
        }
        let (conn, mut peer) = raw::join(&mut node, addr);
        raw::feed(&mut node, &mut peer, &frame(b"lucky"));
        let mut answer = [0; 9];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..], frame(b"lucky"));
        node.net().abort(conn);
        raw::until_ended(&mut node, conn);
        assert_eq!(node.net().metrics().panics, 2);
        assert_eq!(node.net().connection_count(), 0);
        node
    }

    fn ended_by_panic(node: &TestNode) -> usize {
        node.handler().count(|event| {
            matches!(
                event,
                Event::Disconnect(_, DisconnectReason::HandlerPanicked)
            )
        })
    }

    #[test]
    fn a_panic_in_on_connect_ends_that_connection_only() {
        let node = lives_on(faulty(|event| matches!(event, Event::Connect(_))));
        assert_eq!(ended_by_panic(&node), 2);
        assert_eq!(node.handler().connected().len(), 1);
    }

    #[test]
    fn a_panic_in_on_message_ends_that_connection_only() {
        let node = lives_on(faulty(|event| matches!(event, Event::Message(..))));
        assert_eq!(ended_by_panic(&node), 2);
    }

    #[test]
    fn a_panic_in_on_disconnect_leaves_nothing_of_the_connection() {
        lives_on(faulty(|event| matches!(event, Event::Disconnect(..))));
    }

    #[test]
    fn a_panic_in_on_connect_failed_is_contained_too() {
        let (mut node, _) = faulty(|event| matches!(event, Event::ConnectFailed(..)));
        let (_socket, addr) = nobody();
        for round in 1..=3 {
            node.net().connect(addr).unwrap();
            run_until([&mut node], |[node]| {
                node.net().metrics().connects_failed == round
            });
        }
        assert_eq!(node.net().metrics().panics, 2);
        assert_eq!(failures(&node), 1);
        assert_eq!(node.net().connecting_count(), 0);
    }

    /// The default framing, as a user might write it; panics as often as is left.
    #[derive(Clone, Default)]
    struct Faulty {
        decoding: Arc<AtomicUsize>,
        encoding: Arc<AtomicUsize>,
    }

    fn fail(left: &AtomicUsize) {
        let failing = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        assert!(failing.is_err(), "as the test wants it");
    }

    impl Framer for Faulty {
        fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
            fail(&self.decoding);
            let Some((len, rest)) = bytes.split_first_chunk::<4>() else {
                return Ok(Decoded::Incomplete { at_least: 4 });
            };
            let len = u32::from_be_bytes(*len) as usize;
            let (body, consumed) = (4..4 + len, 4 + len);
            if rest.len() < len {
                return Ok(Decoded::Incomplete { at_least: consumed });
            }
            Ok(Decoded::Frame { body, consumed })
        }

        fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
            fail(&self.encoding);
            wire.extend(frame(body));
            Ok(())
        }
    }

    fn framed_by(framer: Faulty) -> (TestNode, SocketAddr) {
        let config = Config {
            connection: ConnectionConfig {
                framing: Framing::custom(move || framer.clone()),
                ..Default::default()
            },
            ..Config::default()
        };
        // The send that its framer panics in is refused.
        let echo = Recorder::reacting(|net, event| {
            if let Event::Message(conn, message) = event {
                let _ = net.send(*conn, message);
            }
        });
        listening(config, echo)
    }

    #[test]
    fn a_panic_in_a_framers_decode_ends_that_connection_only() {
        let framer = Faulty::default();
        framer.decoding.store(2, Ordering::Relaxed);
        let node = lives_on(framed_by(framer));
        assert_eq!(ended_by_panic(&node), 2);
    }

    #[test]
    fn a_panic_in_a_framers_encode_ends_that_connection_only() {
        let framer = Faulty::default();
        framer.encoding.store(2, Ordering::Relaxed);
        let node = lives_on(framed_by(framer));
        assert_eq!(ended_by_panic(&node), 2);
    }
}
