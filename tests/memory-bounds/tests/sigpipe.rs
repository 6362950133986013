//! SIGPIPE with its default action ends the process that writes to a connection which
//! was reset. Rust ignores the signal, but a program that is used in pipes restores the
//! action, and a program in another language has it. Each scenario runs in a child.
#![cfg(unix)]
#![forbid(unsafe_code)]

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use memory_bounds::{KIB, PATIENCE};
use peerloop::{Bytes, Config, ConnId, DisconnectReason, Handler, Net, Node};
use socket2::SockRef;

/// Says what the child sends; set in the child only.
const CHILD: &str = "PEERLOOP_TEST_SIGPIPE";

#[derive(Default)]
struct Source {
    kind: String,
    end: Option<DisconnectReason>,
}

impl Handler for Source {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        match self.kind.as_str() {
            "many" => while net.send(conn, &[7; 1000]).is_ok() {},
            "shared" => {
                let body = Bytes::from(vec![7; 64 * KIB]);
                while net.send(conn, body.clone()).is_ok() {}
            }
            kind => panic!("no such kind: {kind}"),
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.end = Some(reason);
    }
}

/// Runs the node of the child until it has reported the end.
fn serve(node: &mut Node<Source>, mut after_turn: impl FnMut(&mut Node<Source>)) {
    let bound = Instant::now() + PATIENCE;
    while node.handler().end.is_none() {
        assert!(Instant::now() < bound, "the end is not reported");
        let _ = node.turn(Some(Duration::from_millis(5))).expect("a turn");
        after_turn(node);
    }
    println!("END {:?}", node.handler().end);
}

#[test]
fn child() {
    let Ok(kind) = std::env::var(CHILD) else {
        return;
    };
    sigpipe::reset();
    let mut config = Config::default();
    config.sockets.send_buffer_bytes = Some(64 * KIB);
    let source = Source { kind, end: None };
    let mut node = Node::new(config, source).expect("a node");
    let listening = node.net().listen("127.0.0.1:0").expect("a listener");
    let addr: SocketAddr = listening.addr;
    let mut peer = Some(TcpStream::connect(addr).expect("a listener"));
    let mut turns = 0;
    serve(&mut node, |node| {
        turns += usize::from(turns > 0 || node.net().connection_count() == 1);
        // The socket is full. Only a reset that follows FIN makes the next write fail
        // with EPIPE.
        match turns {
            20 => peer
                .as_ref()
                .expect("it is connected")
                .shutdown(Shutdown::Write)
                .expect("a connection"),
            40 => {
                let peer = peer.take().expect("once");
                SockRef::from(&peer)
                    .set_linger(Some(Duration::ZERO))
                    .expect("a connection");
            }
            _ => {}
        }
    });
}

fn outlives(kind: &str) {
    let output = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, kind)
        .output()
        .expect("the child");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.signal(), None, "a signal killed it: {text}");
    assert!(output.status.success(), "{text}");
    assert!(text.contains("END Some(Reset)"), "{text}");
}

#[test]
fn write_of_many_blocks_survives_a_reset() {
    outlives("many");
}

#[test]
fn write_of_shared_bodies_survives_a_reset() {
    outlives("shared");
}
