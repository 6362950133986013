//! The checks at the end of a connection.

use std::io::ErrorKind;

use peerloop::error::SessionError;
use peerloop::session::{Output, Session};
use peerloop::{ConnectError, DisconnectReason};

use super::kinds::{Chunks, Kind, MAGIC};
use super::node::Node;
use super::{Case, Done};
use crate::reference::{Rule, parse};

/// The outcome of a connection, and the actions that it depends on.
struct Verdict<'a> {
    kind: Kind,
    done: Done,
    /// The passed bytes are the beginning of the genuine bytes, or all of them.
    is_genuine: bool,
    is_whole: bool,
    sent: &'a [Vec<u8>],
    received: &'a [Vec<u8>],
    has_close_notify: bool,
    /// The sealed part of the close notification was passed unchanged.
    close_notify_passed: bool,
}

pub(super) fn check(half_open: bool, case: &Case) {
    let kind = case.kind;
    let node = case.node;
    let handshakes_failed = case.world.net(node).metrics().handshakes_failed as usize;
    let it = case.world.handler(node);
    let verdict = Verdict {
        kind,
        done: case.done,
        is_genuine: case.to_node.has_passed_genuine(),
        is_whole: case.to_node.has_passed_all(),
        sent: case.peer.sent(),
        received: &it.messages,
        has_close_notify: case.peer.has_sent_close_notify(),
        close_notify_passed: case.peer.close_notify().is_some_and(|it| {
            // The tag. The versions in the headers of TLS 1.3 have no meaning
            // (RFC 8446, section 5.1), and are not checked.
            let tag = &it[it.len().saturating_sub(16)..];
            let mut passed = case.to_node.passed().windows(tag.len());
            passed.any(|window| window == tag)
        }),
    };
    check_one_end(it, handshakes_failed);
    match it.ended.first() {
        Some(reason) => verdict.check_end(*reason, half_open),
        None => verdict.check_failure(it.failed[0]),
    }
    verdict.check_messages(case.to_node.passed());
    check_unchanged(case, it);
    check_peer(case, it, verdict.is_undisturbed());
}

fn check_one_end(it: &Node, handshakes_failed: usize) {
    assert_eq!(it.ended.len(), it.connected, "{:?}", it.ended);
    assert_eq!(it.connected + handshakes_failed, 1, "{:?}", it.failed);
    assert_eq!(it.failed.len(), handshakes_failed);
    assert!(it.connected == 1 || it.messages.is_empty());
}

/// Checks that the messages before the first change arrive, whatever follows.
fn check_unchanged(case: &Case, it: &Node) {
    let Done {
        closed,
        corrupted,
        rst,
        ..
    } = case.done;
    if it.connected == 1 && !closed && !corrupted && !rst {
        let unchanged_len = case.to_node.unchanged_len();
        let whole = case.ends.iter().filter(|end| **end <= unchanged_len);
        assert!(it.messages.len() >= whole.count());
    }
    if case.kind == Kind::Chunks && !rst {
        let agrees = case.to_node.passed().starts_with(&MAGIC);
        assert_eq!(it.connected == 1, agrees);
    }
}

/// Checks that the peer has received only bytes that the node has sent.
fn check_peer(case: &Case, it: &Node, is_undisturbed: bool) {
    let corrupted = case.done.corrupted;
    if case.kind != Kind::Chunks || !corrupted {
        assert!(it.sent.starts_with(case.peer.plaintext()));
    }
    if is_undisturbed && !corrupted {
        assert_eq!(it.sent, case.peer.plaintext(), "everything arrives");
        assert!(case.peer.has_received_close_notify());
    }
}

impl Verdict<'_> {
    /// Returns whether no action prevents the delivery of all messages.
    fn is_undisturbed(&self) -> bool {
        self.is_whole && self.has_close_notify && !self.done.closed && !self.done.rst
    }

    fn check_messages(&self, passed: &[u8]) {
        if self.is_undisturbed() {
            assert_eq!(self.received, self.sent, "everything arrives");
        }
        if self.kind != Kind::Chunks {
            assert!(self.sent.starts_with(self.received), "nothing else arrives");
            return;
        }
        // Chunks are not protected, so the passed bytes determine the messages.
        let plaintext = chunks_plaintext(passed);
        let expected = parse(Rule::Big(4), 4096, &plaintext).messages;
        assert!(expected.starts_with(self.received));
        if !self.done.closed && !self.done.rst {
            assert_eq!(self.received, expected);
        }
    }

    fn check_end(&self, reason: DisconnectReason, half_open: bool) {
        use DisconnectReason as D;
        use SessionError as S;
        let Done {
            closed,
            corrupted,
            rst,
            ..
        } = self.done;
        let is_expected = match reason {
            D::Local if closed => true,
            D::Local if !half_open => false,
            // Allowed only after a close notification, and only if all messages
            // before it were delivered.
            D::Local | D::PeerClosed => {
                self.kind == Kind::Chunks
                    || (self.close_notify_passed && self.received == self.sent)
            }
            D::Reset => rst,
            D::Session(S::Truncated) => !(self.is_whole && self.has_close_notify),
            D::Session(S::Malformed(_) | S::Refused(_) | S::RefusedByPeer(_)) => {
                !self.is_genuine || corrupted
            }
            D::Truncated { .. } | D::MessageTooLarge { .. } => {
                self.kind == Kind::Chunks && !self.is_genuine
            }
            _ => false,
        };
        assert!(is_expected, "{reason:?}, {}", self.describe());
    }

    /// Checks the error of a failed handshake.
    fn check_failure(&self, error: ConnectError) {
        use ConnectError as C;
        use SessionError as S;
        assert!(
            !self.is_undisturbed() || self.done.corrupted,
            "no action prevented it: {error:?}, {}",
            self.describe()
        );
        let is_expected = match error {
            C::Io(error) => match error.kind {
                ErrorKind::UnexpectedEof => true,
                ErrorKind::ConnectionReset => self.done.rst,
                _ => false,
            },
            C::Session(S::Malformed(_) | S::Refused(_) | S::RefusedByPeer(_)) => {
                !self.is_genuine || self.done.corrupted
            }
            _ => false,
        };
        assert!(is_expected, "{error:?}, {}", self.describe());
    }

    fn describe(&self) -> String {
        let Self {
            kind,
            done,
            is_genuine,
            is_whole,
            has_close_notify,
            ..
        } = self;
        let (received, sent) = (self.received.len(), self.sent.len());
        format!(
            "{kind:?}, {done:?}, genuine {is_genuine}, whole {is_whole}, \
             close_notify {has_close_notify}, {received} of {sent} messages"
        )
    }
}

/// Returns the plaintext of chunks, decoded at once.
fn chunks_plaintext(passed: &[u8]) -> Vec<u8> {
    let mut session = Chunks::new();
    let (mut plaintext, mut wire) = (Vec::new(), Vec::new());
    let mut output = Output::new(&mut plaintext, &mut wire);
    let _ = session.receive(&mut passed.to_vec(), &mut output);
    plaintext
}
