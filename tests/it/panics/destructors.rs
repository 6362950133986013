//! Values of the program that panic when the library drops them: the payload of a
//! panic, sessions, framers, calls that are not run, and errors of `transport`.
//! Nothing else ends because of them.

use std::error::Error;
use std::io::{Read, Write};
use std::panic::{self, panic_any};
use std::sync::Once;
use std::{fmt, io, thread};

use crate::util::child::{self, test_path};
use crate::util::raw::{connect, join};
use crate::util::{Event, Recorder, config_with, listening, run_until};
use peerloop::error::{FramingError, SessionError};
use peerloop::framing::{Decoded, Framer, Framing};
use peerloop::session::{Output, Session, Stage};
use peerloop::{ConnId, DisconnectReason, Net};

/// Panics when it is dropped, with a payload that does so too.
struct Bad(u32);

impl Drop for Bad {
    fn drop(&mut self) {
        if let Some(again) = self.0.checked_sub(1) {
            // A second panic during an unwinding ends the process.
            if !thread::panicking() {
                panic_any(Self(again));
            }
        }
    }
}

fn bad() -> Bad {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Bad>() {
                default(info);
            }
        }));
    });
    Bad(2)
}

/// An error that panics when it is displayed and when it is dropped.
struct BadError(#[expect(dead_code, reason = "it is there to be dropped")] Bad);

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

/// A handshake of one byte from the other end, then no cipher.
struct BadSession {
    stage: Stage,
    next: Stage,
    _bad: Bad,
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

    fn seal(&mut self, body: &[io::IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        body.iter().for_each(|slice| wire.extend_from_slice(slice));
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

type Outcome = io::Result<Option<Box<dyn Session>>>;

fn session(next: Stage) -> Outcome {
    Ok(Some(Box::new(BadSession {
        stage: Stage::Handshaking,
        next,
        _bad: bad(),
    })))
}

/// Fails if a panic leaves the scenario. Its payload must not reach the test harness,
/// which would drop it.
fn contained(scenario: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(panic::AssertUnwindSafe(scenario)) {
        std::mem::forget(payload);
        panic!("a panic left the library, or the scenario failed");
    }
}

/// Ends two connections, one after the other, whose outcome of `transport` is given
/// and which send `opening`. Another connection must be served after each.
fn assert_nothing_else_ends(
    framing: Framing,
    transport: fn(&mut Net, ConnId) -> Outcome,
    opening: &[u8],
    end: Option<DisconnectReason>,
) {
    let handler = Recorder::reacting(|net, event| {
        if let Event::Message(conn, message) = event {
            if message == b"!" {
                panic_any(bad());
            }
            net.send(*conn, message).expect("there is room");
        }
    });
    contained(|| {
        let config = config_with(|config| config.connection.framing = framing);
        let (mut node, addr) = listening(config, handler);
        let (honest, mut honest_peer) = join(&mut node, addr);
        node.handler_mut().sessions = Box::new(transport);
        for times in 1..=2 {
            connect(addr).write_all(opening).unwrap();
            run_until([&mut node], |[node]| {
                let is_end = |event: &Event| {
                    matches!(event, Event::Disconnect(..) | Event::ConnectFailed(..))
                };
                node.handler().count(is_end) == times
            });
            let reason = |event: &Event| match event {
                Event::Disconnect(_, reason) => Some(*reason),
                _ => None,
            };
            let last = node.handler().events.iter().rev().find_map(reason);
            assert_eq!(last, end);
            honest_peer.write_all(b"x").unwrap();
            run_until([&mut node], |[node]| {
                node.handler().messages(honest).len() == times
            });
            honest_peer.read_exact(&mut [0]).unwrap();
        }
    });
}

#[test]
fn payload_of_a_panic_is_contained() {
    let end = Some(DisconnectReason::HandlerPanicked);
    assert_nothing_else_ends(Framing::Raw, |_, _| Ok(None), b"!", end);
}

#[test]
fn session_is_contained() {
    let end = Some(DisconnectReason::PeerClosed);
    let transport = |_: &mut Net, _| session(Stage::Established);
    assert_nothing_else_ends(Framing::Raw, transport, b"-", end);
}

#[test]
fn transparent_session_is_contained() {
    let end = Some(DisconnectReason::PeerClosed);
    let transport = |_: &mut Net, _| session(Stage::Transparent);
    assert_nothing_else_ends(Framing::Raw, transport, b"-", end);
}

#[test]
fn session_of_an_ended_connection_is_contained() {
    let transport = |net: &mut Net, conn| {
        net.abort(conn);
        session(Stage::Established)
    };
    assert_nothing_else_ends(Framing::Raw, transport, b"", None);
}

#[test]
fn error_of_transport_is_contained() {
    child::alone(test_path!(error_of_transport_is_contained), || {
        // The error is displayed only if a logger takes the line.
        let mut logger = env_logger::builder();
        logger.filter_level(log::LevelFilter::Debug).init();
        let transport = |_: &mut Net, _| Err(io::Error::other(BadError(bad())));
        assert_nothing_else_ends(Framing::Raw, transport, b"", None);
    });
}

#[test]
fn framer_is_contained() {
    let framing = Framing::custom(|| BadFramer { _bad: bad() });
    let end = Some(DisconnectReason::PeerClosed);
    assert_nothing_else_ends(framing, |_, _| Ok(None), b"", end);
}

#[test]
fn values_of_a_dropped_node_are_contained() {
    contained(|| {
        let captured = bad();
        let framing = Framing::custom(move || {
            let _ = &captured;
            BadFramer { _bad: bad() }
        });
        let config = config_with(|config| config.connection.framing = framing);
        let (mut node, addr) = listening(config, Recorder::default());
        node.handler_mut().sessions = Box::new(|_, _| session(Stage::Established));
        let peers = [(); 3].map(|()| {
            let mut peer = connect(addr);
            peer.write_all(b"-").unwrap();
            peer
        });
        run_until([&mut node], |[node]| {
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
    });
}
