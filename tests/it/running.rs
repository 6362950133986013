//! Running a node: until a condition holds, in a thread, and to its end or without one.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::util::{Event, PATIENCE, Recorder, listening, node, raw};
use peerloop::config::OnPanic;
use peerloop::{
    Bytes, Config, ConnId, DisconnectReason, Handler, Net, Node, RunEnd, RunningNode, Turn,
};

fn strict() -> Config {
    Config {
        on_panic: OnPanic::Unwind,
        ..Config::default()
    }
}

/// Whether the peer is told that its stream was cut.
fn is_reset(peer: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    match peer.read_to_end(&mut bytes) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            true
        }
    }
}

mod until {
    use super::*;

    #[test]
    fn the_condition_is_called_before_the_first_turn_and_after_each() {
        let mut node = node(strict(), Recorder::default());
        let mut turns = Vec::new();
        let end = node.run_until(PATIENCE, |handler, net| {
            // Whatever it asks for is done in the next turn.
            net.set_timer(Duration::ZERO, 1);
            turns.push(handler.turns);
            handler.turns == 3
        });
        assert_eq!((end.unwrap(), turns), (RunEnd::Done, vec![0, 1, 2, 3]));
        let end = node.run_until(PATIENCE, |_, _| true);
        assert_eq!(end.unwrap(), RunEnd::Done);
        assert_eq!(node.handler().turns, 3, "no further turn");
    }

    #[test]
    fn the_time_is_kept_and_a_turn_is_taken_in_any_case() {
        let mut node = node(strict(), Recorder::default());
        let end = node.run_until(Duration::ZERO, |_, _| false);
        assert_eq!(end.unwrap(), RunEnd::TimedOut);
        assert_eq!(node.handler().turns, 1);
        let (begun, bound) = (Instant::now(), Duration::from_millis(30));
        assert_eq!(node.run_for(bound).unwrap(), RunEnd::TimedOut);
        assert!(begun.elapsed() >= bound);
    }

    #[test]
    fn a_bound_that_no_clock_reaches_is_none() {
        let mut node = node(strict(), Recorder::default());
        node.net().set_timer(Duration::from_millis(10), 7);
        let fired = |event: &Event| matches!(event, Event::Timer(_, 7));
        let end = node.run_until(Duration::MAX, |handler, _| handler.count(fired) == 1);
        assert_eq!(end.unwrap(), RunEnd::Done);
    }

    #[test]
    fn a_node_that_stops_or_has_stopped_ends_it() {
        let mut node = node(strict(), Recorder::default());
        node.net().shutdown(Duration::ZERO);
        assert_eq!(node.run_for(PATIENCE).unwrap(), RunEnd::Stopped);
        assert_eq!(node.run_for(PATIENCE).unwrap(), RunEnd::Stopped);
        let end = node.run_until(PATIENCE, |_, _| true);
        assert_eq!(end.unwrap(), RunEnd::Done);
        node.run().expect("it is at its end");
    }
}

#[test]
fn a_node_says_once_that_it_has_stopped_and_then_every_turn_is_an_error() {
    let mut node = node(strict(), Recorder::default());
    node.net().shutdown(Duration::ZERO);
    assert_eq!(node.turn(None).unwrap(), Turn::Stopped);
    let begun = Instant::now();
    for _ in 0..3 {
        let error = node.turn(None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    assert!(begun.elapsed() >= Duration::from_millis(30), "it spins");
    assert_eq!(node.timeout(), None);
}

#[test]
fn with_lends_the_handler_and_the_net() {
    let (mut node, conn, mut peer) = raw::wire(strict(), Recorder::default());
    let sent = node.with(|handler, net| net.send(handler.connected()[0], b"hello"));
    sent.unwrap();
    raw::settle(&mut node);
    let mut frame = [0; 9];
    peer.read_exact(&mut frame).unwrap();
    assert_eq!(&frame[4..], b"hello");
    assert_eq!(node.handler().ended(conn), None);
}

mod in_a_thread {
    use super::*;

    #[test]
    fn runs_until_it_is_shut_down_and_gives_the_handler_back() {
        let (node, addr) = listening(strict(), Recorder::echo());
        let running = node.spawn().unwrap();
        let mut peer = raw::connect(addr);
        peer.write_all(b"\0\0\0\x05hello").unwrap();
        let mut frame = [0; 9];
        peer.read_exact(&mut frame).unwrap();
        running.shutdown(PATIENCE);
        drop(peer);
        let handler = running.join().unwrap();
        let conn = handler.connected()[0];
        assert_eq!(handler.messages(conn), [b"hello"]);
        assert!(handler.ended(conn).is_some());
    }

    #[test]
    fn the_thread_has_the_name_of_the_node() {
        for (name, thread) in [("called", "called"), ("a\0b", "ab")] {
            let config = Config {
                name: name.to_owned(),
                ..strict()
            };
            let running = node(config, Recorder::default()).spawn().unwrap();
            let asked = running.handle().ask(|_, net| {
                (
                    net.name().to_owned(),
                    thread::current().name().map(str::to_owned),
                )
            });
            let (of_node, of_thread) = asked.unwrap();
            assert_eq!(
                (of_node.as_str(), of_thread.as_deref()),
                (name, Some(thread))
            );
        }
    }

    #[test]
    fn join_resumes_a_panic_of_the_thread() {
        let running = node(strict(), Recorder::default()).spawn().unwrap();
        let panicking = |_: &mut Recorder, _: &mut Net| {
            // Without the message and the trace, which belong to no failure.
            std::panic::resume_unwind(Box::new("on purpose"));
        };
        running.handle().post(panicking).unwrap();
        let joined = catch_unwind(AssertUnwindSafe(|| running.join().map(|_| ())));
        let panic = joined.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
    }

    /// The list of the loops that a thread turns may be gone when its other
    /// thread-locals are dropped.
    #[test]
    fn it_can_be_dropped_at_the_end_of_a_thread() {
        thread_local! {
            static OWNED: RefCell<Option<RunningNode<Recorder>>> = const { RefCell::new(None) };
        }
        let thread = thread::spawn(|| {
            OWNED.with_borrow_mut(|owned| {
                let running = node(strict(), Recorder::default()).spawn().unwrap();
                running.handle().ask(|_, _| ()).unwrap();
                *owned = Some(running);
            });
        });
        thread.join().unwrap();
    }

    #[test]
    fn dropping_it_stops_the_node_and_waits_for_it() {
        let (node, addr) = listening(strict(), Recorder::default());
        let running = node.spawn().unwrap();
        let handle = running.handle();
        let mut peer = raw::connect(addr);
        let end = Instant::now() + PATIENCE;
        while handle.ask(|_, net| net.connection_count()).unwrap() == 0 {
            assert!(Instant::now() < end, "it is not accepted");
        }
        drop(running);
        TcpStream::connect(addr).expect_err("it has stopped");
        assert_eq!(
            handle.ask(|_, _| ()).unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        assert!(!is_reset(&mut peer), "there was nothing to cut");
        // A thread that has panicked is waited for too, without a panic here.
        let running = Node::new(strict(), Recorder::default())
            .unwrap()
            .spawn()
            .unwrap();
        let panicking = |_: &mut Recorder, _: &mut Net| {
            std::panic::resume_unwind(Box::new("on purpose"));
        };
        running.handle().post(panicking).unwrap();
        drop(running);
    }

    /// Has the node that it is the handler of, and drops it with itself or when told.
    #[derive(Default)]
    struct Owner {
        own: Option<RunningNode<Self>>,
        dropped: Option<mpsc::Sender<Result<(), ErrorKind>>>,
    }

    impl Handler for Owner {
        fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    }

    impl Drop for Owner {
        fn drop(&mut self) {
            drop(self.own.take());
            if let Some(dropped) = self.dropped.take() {
                // The test does not wait any more if it has failed.
                let _ = dropped.send(Ok(()));
            }
        }
    }

    fn owner(dropped: mpsc::Sender<Result<(), ErrorKind>>) -> peerloop::Handle<Owner> {
        let running = Node::new(strict(), Owner::default())
            .unwrap()
            .spawn()
            .unwrap();
        let handle = running.handle();
        let keep = move |owner: &mut Owner, _: &mut Net| {
            owner.own = Some(running);
            owner.dropped = Some(dropped);
        };
        handle.ask(keep).unwrap();
        handle
    }

    #[test]
    fn two_that_drop_each_other_in_callbacks_both_end() {
        let (dropped, drops) = mpsc::channel();
        let nodes = [(); 2].map(|()| {
            let node = Node::new(strict(), Owner::default()).unwrap();
            node.spawn().unwrap()
        });
        let handles = nodes.each_ref().map(RunningNode::handle);
        for (handle, other) in handles.iter().zip(nodes.into_iter().rev()) {
            let dropped = dropped.clone();
            let own = move |owner: &mut Owner, _: &mut Net| {
                owner.own = Some(other);
                owner.dropped = Some(dropped);
            };
            handle.ask(own).unwrap();
        }
        let together = Arc::new(Barrier::new(2));
        for handle in handles {
            let together = Arc::clone(&together);
            let drop_other = move |owner: &mut Owner, _: &mut Net| {
                together.wait();
                drop(owner.own.take());
            };
            handle.post(drop_other).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(drops.recv_timeout(PATIENCE), Ok(Ok(())));
        }
    }

    #[test]
    fn it_is_not_waited_for_inside_a_callback_or_its_thread() {
        let (dropped, drops) = mpsc::channel();
        // In a callback, where joining is an error.
        let handle = owner(dropped.clone());
        let joining = move |owner: &mut Owner, _: &mut Net| {
            let joined = owner.own.take().expect("it is there").join();
            let answer = owner.dropped.clone().expect("it is there");
            answer.send(joined.map(|_| ()).map_err(|error| error.kind()))
        };
        handle.ask(joining).unwrap().unwrap();
        let answer = drops.recv_timeout(PATIENCE);
        assert_eq!(answer, Ok(Err(ErrorKind::Deadlock)));
        // The thread ends since it was shut down, and its handler with it.
        assert_eq!(drops.recv_timeout(PATIENCE), Ok(Ok(())));
        // In the thread: a panic unwinds out of the node and drops its handler.
        let handle = owner(dropped);
        let panicking = |_: &mut Owner, _: &mut Net| {
            std::panic::resume_unwind(Box::new("on purpose"));
        };
        handle.post(panicking).unwrap();
        assert_eq!(drops.recv_timeout(PATIENCE), Ok(Ok(())));
    }
}

mod dropped {
    use super::*;

    /// A node with two peers, of which the first has messages in its queue.
    fn with_a_queue() -> (Node<Recorder>, [TcpStream; 2], SocketAddr) {
        let (mut node, addr) = listening(strict(), Recorder::default());
        let (conn, cut) = raw::join(&mut node, addr);
        let (_, idle) = raw::join(&mut node, addr);
        node.net().send(conn, b"never sent").unwrap();
        (node, [cut, idle], addr)
    }

    #[test]
    fn a_node_resets_the_streams_that_it_cuts_and_no_others() {
        let (node, [mut cut, mut idle], _) = with_a_queue();
        drop(node);
        assert!(is_reset(&mut cut) && !is_reset(&mut idle));
        let (node, [mut cut, mut idle], _) = with_a_queue();
        let handler = node.into_handler();
        assert!(is_reset(&mut cut) && !is_reset(&mut idle));
        assert_eq!(handler.connected().len(), 2);
    }

    #[test]
    fn a_panic_that_unwinds_through_a_node_resets_them_too() {
        let (node, [mut cut, mut idle], _) = with_a_queue();
        let panicking = |handler: &mut Recorder, net: &mut Net| {
            net.send(handler.connected()[0], b"never sent").unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        };
        node.handle().post(panicking).unwrap();
        let joined = thread::spawn(move || {
            let mut node = node;
            node.run()
        });
        joined.join().unwrap_err();
        // The first message left before, in the turn of the panic at the latest.
        assert!(is_reset(&mut cut) && !is_reset(&mut idle));
    }

    #[test]
    fn a_message_in_the_command_queue_is_one_that_is_cut_off() {
        let (mut node, addr) = listening(strict(), Recorder::default());
        let mut peers = [(); 3].map(|()| raw::join(&mut node, addr));
        let handle = node.handle();
        handle
            .send(peers[0].0, Bytes::from_static(b"lost"))
            .unwrap();
        handle.post(|_, _| ()).unwrap();
        drop(node);
        let resets = peers.each_mut().map(|(_, peer)| is_reset(peer));
        assert_eq!(resets, [true, false, false]);
    }

    #[test]
    fn a_node_tells_the_other_node_that_the_stream_was_cut() {
        let (mut a, to_b, mut b, to_a) =
            crate::util::pair(strict(), Recorder::default(), Recorder::default());
        a.net().send(to_b, b"never sent").unwrap();
        drop(a);
        let ended = raw::until_ended(&mut b, to_a);
        assert_eq!(ended, DisconnectReason::Reset);
    }

    /// More than the sockets hold, to a peer that does not read.
    #[test]
    fn a_grace_that_is_over_cuts_streams_as_a_drop_does() {
        for linger in [false, true] {
            let mut config = strict();
            config.sockets.send_buffer_bytes = Some(8 * 1024);
            config.connection.timeouts.linger = linger.then_some(Duration::from_millis(10));
            let (mut node, addr) = listening(config, Recorder::default());
            let mut peer = raw::connect_narrow(addr);
            let conn = raw::accepted(&mut node);
            for _ in 0..32 {
                node.net().send(conn, &[7; 16 * 1024]).unwrap();
            }
            if linger {
                node.net().close(conn);
                raw::until_ended(&mut node, conn);
            } else {
                node.net().shutdown(Duration::ZERO);
                node.run().unwrap();
            }
            assert!(is_reset(&mut peer), "linger: {linger}");
        }
    }
}
