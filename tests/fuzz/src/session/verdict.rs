//! What has to be true in the end.

use std::io::ErrorKind;

use peerloop::error::SessionError;
use peerloop::session::{Output, Session};
use peerloop::{ConnectError, DisconnectReason};

use super::kinds::{Chunks, Kind, MAGIC};
use super::node::Node;
use super::{Case, Done};
use crate::reference::{Rule, parse};

/// One connection, told apart by what was done to it.
struct Verdict<'a> {
    kind: Kind,
    done: Done,
    /// All that was passed is the beginning of what was said, or all of it.
    is_genuine: bool,
    is_whole: bool,
    sent: &'a [Vec<u8>],
    heard: &'a [Vec<u8>],
    has_close_notify: bool,
    /// The sealed part of the close notification has left as it was said.
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
        is_genuine: case.way.has_passed_genuine(),
        is_whole: case.way.has_passed_all(),
        sent: case.peer.sent(),
        heard: &it.messages,
        has_close_notify: case.peer.has_sent_close_notify(),
        close_notify_passed: case.peer.close_notify().is_some_and(|it| {
            // The tag. Versions in the headers of TLS 1.3 mean nothing (RFC
            // 8446, section 5.1), and are read by nobody.
            let tag = &it[it.len().saturating_sub(16)..];
            let mut passed = case.way.passed().windows(tag.len());
            passed.any(|window| window == tag)
        }),
    };
    check_one_end(it, handshakes_failed);
    match it.ended.first() {
        Some(reason) => verdict.check_end(*reason, half_open),
        None => verdict.check_failure(it.failed[0]),
    }
    verdict.check_messages(case.way.passed());
    check_unharmed(case, it);
    check_peer(case, it, verdict.is_undisturbed());
}

fn check_one_end(it: &Node, handshakes_failed: usize) {
    assert_eq!(it.ended.len(), it.connected, "{:?}", it.ended);
    assert_eq!(it.connected + handshakes_failed, 1, "{:?}", it.failed);
    assert_eq!(it.failed.len(), handshakes_failed);
    assert!(it.connected == 1 || it.messages.is_empty());
}

/// What came before any harm was done arrives, whatever comes after it.
fn check_unharmed(case: &Case, it: &Node) {
    let Done {
        closed,
        misheard,
        rst,
        ..
    } = case.done;
    if it.connected == 1 && !closed && !misheard && !rst {
        let unharmed = case.way.unharmed();
        let whole = case.ends.iter().filter(|end| **end <= unharmed);
        assert!(it.messages.len() >= whole.count());
    }
    if case.kind == Kind::Chunks && !rst {
        let agrees = case.way.passed().starts_with(&MAGIC);
        assert_eq!(it.connected == 1, agrees);
    }
}

/// The peer has heard nothing that the node has not said.
fn check_peer(case: &Case, it: &Node, is_undisturbed: bool) {
    let misheard = case.done.misheard;
    if case.kind != Kind::Chunks || !misheard {
        assert!(it.said.starts_with(case.peer.plaintext()));
    }
    if is_undisturbed && !misheard {
        assert_eq!(it.said, case.peer.plaintext(), "everything arrives");
        assert!(case.peer.has_received_close_notify());
    }
}

impl Verdict<'_> {
    /// Nothing that was done keeps it from hearing everything.
    fn is_undisturbed(&self) -> bool {
        self.is_whole && self.has_close_notify && !self.done.closed && !self.done.rst
    }

    fn check_messages(&self, passed: &[u8]) {
        if self.is_undisturbed() {
            assert_eq!(self.heard, self.sent, "everything arrives");
        }
        if self.kind != Kind::Chunks {
            assert!(self.sent.starts_with(self.heard), "nothing else arrives");
            return;
        }
        // There is nothing that protects them, so they are what the bytes say.
        let plaintext = understood(passed);
        let expected = parse(Rule::Big(4), 4096, &plaintext).messages;
        assert!(expected.starts_with(self.heard));
        if !self.done.closed && !self.done.rst {
            assert_eq!(self.heard, expected);
        }
    }

    fn check_end(&self, reason: DisconnectReason, half_open: bool) {
        use DisconnectReason as D;
        use SessionError as S;
        let Done {
            closed,
            misheard,
            rst,
            ..
        } = self.done;
        let is_expected = match reason {
            D::Local if closed => true,
            D::Local if !half_open => false,
            // Only with a close notification, and only where everything was
            // heard that was said before it.
            D::Local | D::PeerClosed => {
                self.kind == Kind::Chunks || (self.close_notify_passed && self.heard == self.sent)
            }
            D::Reset => rst,
            D::Session(S::Truncated) => !(self.is_whole && self.has_close_notify),
            D::Session(S::Malformed(_) | S::Refused(_) | S::RefusedByPeer(_)) => {
                !self.is_genuine || misheard
            }
            D::Truncated { .. } | D::MessageTooLarge { .. } => {
                self.kind == Kind::Chunks && !self.is_genuine
            }
            _ => false,
        };
        assert!(is_expected, "{reason:?}, {}", self.describe());
    }

    /// The end of a handshake.
    fn check_failure(&self, error: ConnectError) {
        use ConnectError as C;
        use SessionError as S;
        assert!(
            !self.is_undisturbed() || self.done.misheard,
            "nothing was in the way: {error:?}, {}",
            self.describe()
        );
        let is_expected = match error {
            C::Io(error) => match error.kind {
                ErrorKind::UnexpectedEof => true,
                ErrorKind::ConnectionReset => self.done.rst,
                _ => false,
            },
            C::Session(S::Malformed(_) | S::Refused(_) | S::RefusedByPeer(_)) => {
                !self.is_genuine || self.done.misheard
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
        let (heard, sent) = (self.heard.len(), self.sent.len());
        format!(
            "{kind:?}, {done:?}, genuine {is_genuine}, whole {is_whole}, close_notify {has_close_notify}, {heard} of {sent} messages"
        )
    }
}

/// What chunks mean, all at once.
fn understood(passed: &[u8]) -> Vec<u8> {
    let mut session = Chunks::new();
    let (mut plaintext, mut wire) = (Vec::new(), Vec::new());
    let mut output = Output::new(&mut plaintext, &mut wire);
    let _ = session.receive(&mut passed.to_vec(), &mut output);
    plaintext
}
