//! Values of the program that panic when the library drops them: the payload of a panic, sessions, framers, calls
//! that are not run, and the errors of `transport`. Nothing else ends by it.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{self, panic_any};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, io};

use peerloop::error::{FramingError, SessionError};
use peerloop::framing::{Decoded, Framer, Framing};
use peerloop::session::{Output, Session, Stage};
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node, Transport,
};

use crate::util::child::{self, test_path};

const PATIENCE: Duration = Duration::from_secs(30);

/// Panics when it is dropped, with a payload that does so, too.
struct Bad(u32);

impl Drop for Bad {
    fn drop(&mut self) {
        if let Some(again) = self.0.checked_sub(1) {
            // A second panic while one unwinds ends the process, here as anywhere.
            if !thread::panicking() {
                panic_any(Self(again));
            }
        }
    }
}

fn bad() -> Bad {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Bad>() {
                loud(info);
            }
        }));
    });
    Bad(2)
}

/// An error whose text and whose end are panics.
struct BadError(#[allow(dead_code)] Bad);

impl fmt::Debug for BadError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic_any(bad())
    }
}

impl fmt::Display for BadError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic_any(bad())
    }
}

impl Error for BadError {}

/// A logger that makes the text of every line.
struct Reader;

impl log::Log for Reader {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let _ = record.args().to_string();
    }

    fn flush(&self) {}
}

/// A handshake of one byte from the other end, and then no cipher.
struct BadSession {
    stage: Stage,
    next: Stage,
    _bad: Bad,
}

impl BadSession {
    fn new(next: Stage) -> Self {
        Self {
            stage: Stage::Handshaking,
            next,
            _bad: bad(),
        }
    }
}

impl Session for BadSession {
    fn receive(&mut self, wire: &mut [u8], out: &mut Output<'_>) -> Result<usize, SessionError> {
        let mut rest = &*wire;
        if self.stage == Stage::Handshaking {
            (self.stage, rest) = (self.next, &rest[1..]);
        }
        if self.stage == Stage::Transparent {
            return Ok(1);
        }
        out.plaintext.extend_from_slice(rest);
        Ok(wire.len())
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn seal(
        &mut self,
        plaintext: &[io::IoSlice<'_>],
        wire: &mut Vec<u8>,
    ) -> Result<(), SessionError> {
        plaintext
            .iter()
            .for_each(|slice| wire.extend_from_slice(slice));
        Ok(())
    }
}

/// Every message is a byte.
struct BadFramer {
    _bad: Bad,
}

impl Framer for BadFramer {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        Ok(match bytes.len() {
            0 => Decoded::Incomplete { at_least: 1 },
            _ => Decoded::Frame {
                body: 0..1,
                consumed: 1,
            },
        })
    }

    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(body);
        Ok(())
    }
}

/// What goes wrong for a connection: nothing for the honest peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Payload,
    Established,
    Transparent,
    ClosedInTransport,
    TransportError,
    Nothing,
}

struct Owner {
    next: Option<Wrong>,
    ends: Vec<(ConnId, DisconnectReason)>,
    failed: Vec<ConnectError>,
    messages: usize,
}

impl Handler for Owner {
    fn transport(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        match self.next.take().unwrap_or(Wrong::Nothing) {
            Wrong::Nothing | Wrong::Payload => Ok(Transport::Plain),
            Wrong::Established => Ok(BadSession::new(Stage::Established).into()),
            Wrong::Transparent => Ok(BadSession::new(Stage::Transparent).into()),
            Wrong::ClosedInTransport => {
                net.abort(conn);
                Ok(BadSession::new(Stage::Established).into())
            }
            Wrong::TransportError => Err(Box::new(BadError(bad()))),
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.messages += 1;
        if message == b"!" {
            panic_any(bad());
        }
        let _ = net.send(conn, message);
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.ends.push((conn, reason));
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.failed.push(error);
    }
}

fn listening(framing: Framing) -> (Node<Owner>, SocketAddr) {
    let mut config = Config::default();
    config.connection.framing = framing;
    let owner = Owner {
        next: None,
        ends: vec![],
        failed: vec![],
        messages: 0,
    };
    let mut node = Node::new(config, owner).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    (node, addr)
}

fn raw() -> (Node<Owner>, SocketAddr) {
    listening(Framing::Raw)
}

#[track_caller]
fn run_until(node: &mut Node<Owner>, mut condition: impl FnMut(&mut Node<Owner>) -> bool) {
    let bound = Instant::now() + PATIENCE;
    while !condition(node) {
        assert!(Instant::now() < bound, "it did not come about");
        let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
    }
}

fn connect(node: &mut Node<Owner>, addr: SocketAddr, wrong: Wrong) -> TcpStream {
    node.handler_mut().next = Some(wrong);
    let peer = TcpStream::connect(addr).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    run_until(node, |node| node.handler().next.is_none());
    peer
}

/// Has the node answer a peer.
fn assert_served(node: &mut Node<Owner>, peer: &mut TcpStream) {
    let before = node.handler().messages;
    peer.write_all(b"x").unwrap();
    run_until(node, |node| node.handler().messages > before);
    let mut answer = [0];
    peer.read_exact(&mut answer).unwrap();
}

/// Fails if a panic leaves the scenario. Its payload must not reach the harness, which would drop it.
fn contained(scenario: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(panic::AssertUnwindSafe(scenario)) {
        std::mem::forget(payload);
        panic!("a panic left the library, or the scenario failed");
    }
}

/// A connection for which something goes wrong ends as given, twice in a row, and another one is served.
fn nothing_else_ends(wrong: Wrong, opening: &[u8], end: Option<DisconnectReason>) {
    contained(|| provoke(wrong, opening, end));
}

fn provoke(wrong: Wrong, opening: &[u8], end: Option<DisconnectReason>) {
    let (mut node, addr) = raw();
    let mut honest = connect(&mut node, addr, Wrong::Nothing);
    for times in 1..=2 {
        let mut peer = connect(&mut node, addr, wrong);
        let _ = peer.write_all(opening);
        drop(peer);
        run_until(&mut node, |node| {
            let handler = node.handler();
            handler.ends.len() + handler.failed.len() == times
        });
        assert_eq!(
            node.handler().ends.last().map(|end| end.1),
            end,
            "{wrong:?}"
        );
        assert_served(&mut node, &mut honest);
    }
}

#[test]
fn the_payload_of_a_panic() {
    let end = Some(DisconnectReason::HandlerPanicked);
    nothing_else_ends(Wrong::Payload, b"!", end);
}

#[test]
fn a_session() {
    let end = Some(DisconnectReason::PeerClosed);
    nothing_else_ends(Wrong::Established, b"-", end);
}

#[test]
fn a_session_that_becomes_transparent() {
    let end = Some(DisconnectReason::PeerClosed);
    nothing_else_ends(Wrong::Transparent, b"-", end);
}

#[test]
fn a_session_that_comes_too_late() {
    nothing_else_ends(Wrong::ClosedInTransport, b"", None);
}

#[test]
fn the_error_of_a_transport() {
    child::alone(test_path!(the_error_of_a_transport), || {
        // Only a logger that reads the text asks the error for it.
        log::set_logger(&Reader).expect("the only one");
        log::set_max_level(log::LevelFilter::Debug);
        nothing_else_ends(Wrong::TransportError, b"", None);
    });
}

#[test]
fn framers() {
    contained(end_framers);
}

fn end_framers() {
    let (mut node, addr) = listening(Framing::custom(|| BadFramer { _bad: bad() }));
    let mut honest = connect(&mut node, addr, Wrong::Nothing);
    for times in 1..=2 {
        drop(connect(&mut node, addr, Wrong::Nothing));
        run_until(&mut node, |node| node.handler().ends.len() == times);
        assert_served(&mut node, &mut honest);
    }
}

#[test]
fn all_that_a_node_has() {
    contained(drop_a_node);
}

fn drop_a_node() {
    let end_of_make = bad();
    let make = move || {
        let _ = &end_of_make;
        BadFramer { _bad: bad() }
    };
    let (mut node, addr) = listening(Framing::custom(make));
    let mut peers = vec![];
    for wrong in [Wrong::Established; 3] {
        let mut peer = connect(&mut node, addr, wrong);
        peer.write_all(b"-").unwrap();
        peers.push(peer);
    }
    run_until(&mut node, |node| {
        node.net().connection_count() == peers.len()
    });
    let handle = node.handle();
    for _ in 0..2 {
        let unrun = bad();
        handle.post(move |_, _| drop(unrun)).unwrap();
    }
    drop(node);
    for mut peer in peers {
        let _ = peer.read_to_end(&mut vec![]);
    }
}
