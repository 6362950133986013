//! The server: commands come in, answers go out, and keys expire.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use peerloop::framing::Framing;
use peerloop::{Config, ConnId, Handler, Net, TimerId};

use super::commands::{line, run};
use super::keys::Keys;
use super::resp::{COMMAND_MAX, Commands, Stop, read};

/// The handler of a shard. The clones share the keys behind one lock, so that each
/// command is atomic.
#[derive(Clone, Default)]
pub(crate) struct Server {
    keys: Arc<Mutex<Keys>>,
    /// The answer to a command.
    answer: Vec<u8>,
    /// The timer for the key that expires first.
    timer: Option<(Instant, TimerId)>,
}

impl Server {
    /// Removes expired keys, and sets the timer for the next one that expires.
    fn purge(&mut self, net: &mut Net) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let next = keys.purge(net.now());
        if next != self.timer.map(|(at, _)| at) {
            self.timer.map(|(_, timer)| net.cancel_timer(timer));
            self.timer = next.map(|at| (at, net.set_timer_at(at, 0)));
        }
    }
}

impl Handler for Server {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let (out, mut args) = (&mut self.answer, Vec::with_capacity(4));
        out.clear();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match read(message, |arg| args.push(arg)) {
            Err(Stop::Malformed(problem)) => {
                line(out, format_args!("-ERR Protocol error: {problem}"));
                Ok(true)
            }
            _ => run(&mut keys, net.now(), &args, out),
        };
        drop(keys);
        let is_last = result.unwrap_or_else(|error| {
            out.clear();
            line(out, format_args!("-{error}"));
            false
        });
        if !out.is_empty() && net.send(conn, &*out).is_err() {
            net.abort_with_reason(conn, "no memory for an answer");
        }
        if is_last {
            net.close(conn);
        }
        // A client that does not read its answers gets no further ones.
        if !net.is_writable(conn) {
            net.pause(conn);
        }
        self.purge(net);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        net.resume(conn);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        self.timer = None;
        self.purge(net);
    }
}

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.limits.max_connections_per_address = config.limits.max_connections;
    config.connection.framing = Framing::custom(|| Commands);
    config.connection.max_message_len = COMMAND_MAX + 64;
    config.connection.timeouts.idle = None;
    config
}
