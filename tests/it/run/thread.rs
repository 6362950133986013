//! A node in its own thread.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Instant;

use super::is_reset;
use crate::util::{PATIENCE, Recorder, listening, node, raw, strict};
use peerloop::{Config, ConnId, Handle, Handler, Net, Node, RunningNode};

#[test]
fn join_returns_the_handler() {
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
fn thread_has_the_name_of_the_node() {
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
fn join_resumes_a_panic() {
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
fn drop_at_the_end_of_a_thread_works() {
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
fn drop_stops_the_node_and_waits() {
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

/// Owns the node whose handler it is, and drops it with itself or on request.
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

fn owner(dropped: mpsc::Sender<Result<(), ErrorKind>>) -> Handle<Owner> {
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
fn two_that_drop_each_other_both_end() {
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
fn drop_inside_its_own_thread_does_not_wait() {
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
