//! File-descriptor exhaustion rests a listener. The process has few descriptors, and
//! the test takes all that are free.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::util::child::{self, test_path};
use crate::util::{PATIENCE, Recorder, TestNode, config_with, frame, listening, run_until};
use socket2::{Domain, Socket, Type};

const DESCRIPTORS: usize = 64;
const PEERS: usize = 10;

/// Returns a node in a process without free descriptors, the peers in its backlog,
/// and the files that take the descriptors.
fn exhausted(accept_backoff: Duration) -> (TestNode, Vec<TcpStream>, Vec<File>) {
    let config = config_with(|config| config.accept_backoff = accept_backoff);
    let (node, addr) = listening(config, Recorder::echo());
    let socket = |_| Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let sockets: Vec<Socket> = (0..PEERS).map(socket).collect();
    let ballast: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let connect = |socket: Socket| {
        socket.connect(&addr.into()).expect("room in the backlog");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        TcpStream::from(socket)
    };
    (node, sockets.into_iter().map(connect).collect(), ballast)
}

#[test]
fn end_of_a_connection_resumes_accepting() {
    let test = test_path!(end_of_a_connection_resumes_accepting);
    child::alone_with_descriptors(test, DESCRIPTORS, || {
        // The backoff is longer than the test.
        let (mut node, peers, mut ballast) = exhausted(Duration::from_secs(600));
        ballast.pop().expect("one descriptor for a connection");
        for (number, mut peer) in peers.into_iter().enumerate() {
            run_until([&mut node], |[node]| {
                node.handler().connected().len() > number
            });
            assert_eq!(node.net().connection_count(), 1);
            peer.write_all(&frame(b"hello")).unwrap();
            run_until([&mut node], |[node]| {
                node.net().traffic().messages_sent > number as u64
            });
            let mut answer = [0; 9];
            peer.read_exact(&mut answer).expect("an answer");
            drop(peer);
            // The only free descriptor is to be the one of the node's socket.
            ballast.push(File::open("/dev/null").expect("the descriptor of the peer"));
        }
        let metrics = node.net().metrics();
        assert!(metrics.accept_backoffs > 0 && metrics.accept_errors > 0);
    });
}

#[test]
fn accepting_resumes_after_the_backoff() {
    let test = test_path!(accepting_resumes_after_the_backoff);
    child::alone_with_descriptors(test, DESCRIPTORS, || {
        let (mut node, _peers, ballast) = exhausted(Duration::from_millis(5));
        run_until([&mut node], |[node]| {
            node.net().metrics().accept_backoffs >= 3
        });
        // No connection ends.
        drop(ballast);
        run_until([&mut node], |[node]| {
            node.handler().connected().len() == PEERS
        });
    });
}
