//! The number of bytes that a session gets at once.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::util::sessions::{untimed, with_sessions};
use crate::util::{Recorder, listening, raw, run_until};
use peerloop::error::SessionError;
use peerloop::session::{Output, Session, Stage};

/// Takes everything during an endless handshake, and records the lengths.
struct Takes {
    lengths: Arc<Mutex<Vec<usize>>>,
    /// The time of each call.
    work: Duration,
}

impl Session for Takes {
    fn receive(&mut self, bytes: &mut [u8], _: &mut Output<'_>) -> Result<usize, SessionError> {
        self.lengths.lock().unwrap().push(bytes.len());
        thread::sleep(self.work);
        Ok(bytes.len())
    }

    fn stage(&self) -> Stage {
        Stage::Handshaking
    }
}

/// The time of a visit is checked after each call of the session. Both maxima bound
/// the time until then.
#[test]
fn reads_are_short_and_shorter_after_a_slow_one() {
    const SENT: usize = 48 * 1024;
    let [ms, long] = [1, 5000].map(Duration::from_millis);
    // The time of a call and of a visit, and the maxima of the first and later reads.
    for (work, visit, longest, longest_later) in [
        (Duration::ZERO, long, 32 * 1024, 32 * 1024),
        (5 * ms, ms, 32 * 1024, 4 * 1024),
    ] {
        let lengths = Arc::default();
        let (shared, mut config) = (Arc::clone(&lengths), untimed());
        config.budget.max_visit_time = visit;
        let recorder = with_sessions(Recorder::default(), move |_| Takes {
            lengths: Arc::clone(&shared),
            work,
        });
        let (mut node, addr) = listening(config, recorder);
        let mut peer = raw::connect(addr);
        // Loopback delivers within the call, so that all of it waits.
        peer.write_all(&[7; SENT]).expect("the kernel has room");
        let lengths: &Mutex<Vec<usize>> = &lengths;
        run_until([&mut node], |_| {
            lengths.lock().unwrap().iter().sum::<usize>() == SENT
        });
        let lengths = lengths.lock().unwrap();
        assert!(lengths.iter().all(|len| *len <= longest), "{lengths:?}");
        assert!(
            lengths[1..].iter().all(|len| *len <= longest_later),
            "{lengths:?}"
        );
    }
}
