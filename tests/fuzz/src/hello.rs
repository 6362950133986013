//! The hello of a hostile peer, in pieces.

use peerloop::error::SessionError;
use peerloop::hello::Hello;
use peerloop::session::{Output, Session, Stage};

use crate::input::Input;

const HEADER_LEN: usize = 65;

/// Effects of the session.
#[derive(PartialEq, Debug)]
struct Done {
    taken: usize,
    wire: Vec<u8>,
    error: Option<SessionError>,
    is_complete: bool,
}

/// Changes a correct hello as the input decides, and passes it to a session in one
/// piece, and in many. The result is the same, and within the limits.
pub fn hello(data: &[u8]) {
    let mut input = Input::new(data);
    let ours = Hello {
        min_version: 1,
        max_blob_len: 20,
        ..Hello::new(*b"fuzz", [1; 32], 1)
    };
    let theirs = Hello {
        blob: vec![7; input.below(30)],
        ..Hello::new(*b"fuzz", [2; 32], 2)
    };
    let mut bytes = Vec::new();
    theirs.session().start(&mut bytes).expect("a short blob");
    bytes.push(input.byte() % 8);
    for _ in 0..input.below(4) {
        let (at, byte) = (input.below(bytes.len()), input.byte());
        bytes[at] = byte;
    }
    bytes.truncate(input.below(bytes.len() + 40));
    let whole = pass(&ours, &bytes, || usize::MAX);
    let pieces = pass(&ours, &bytes, || 1 + input.below(9));
    // An error may come before the bytes that would follow.
    assert_eq!(whole, pieces);
    let hello_len = HEADER_LEN + ours.max_blob_len;
    assert!(whole.taken <= hello_len + 1 && whole.wire.len() <= HEADER_LEN + 1);
    assert!(whole.error.is_none() || !whole.is_complete);
}

fn pass(ours: &Hello, bytes: &[u8], mut piece: impl FnMut() -> usize) -> Done {
    let mut session = ours.session();
    let (mut plaintext, mut wire) = (Vec::new(), Vec::new());
    session.start(&mut wire).expect("a short blob");
    let (mut taken, mut arrived, mut error) = (0, 0, None);
    while arrived < bytes.len() && error.is_none() && session.stage() == Stage::Handshaking {
        arrived = bytes.len().min(arrived + piece().min(bytes.len()));
        let before = taken;
        let mut untaken = bytes[before..arrived].to_vec();
        match session.receive(&mut untaken, &mut Output::new(&mut plaintext, &mut wire)) {
            Ok(count) => taken += count,
            Err(other) => error = Some(other),
        }
        assert_eq!(untaken, bytes[before..arrived], "no byte is changed");
        let held = session.held_bytes();
        assert!(held <= 1024, "{held}");
    }
    assert!(plaintext.is_empty());
    let is_complete = session.stage() == Stage::Transparent;
    assert!(!is_complete || session.take_identity().is_some());
    // The hello is taken with the answer, or before it.
    let taken = if is_complete || error.is_none() {
        taken
    } else {
        0
    };
    Done {
        taken,
        wire,
        error,
        is_complete,
    }
}
