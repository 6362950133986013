//! The server: commands come in, answers go out, and keys expire.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use peerloop::framing::Framing;
use peerloop::{Config, ConnId, Handler, Net, TimerId};

use super::commands::{line, run};
use super::keys::Keys;
use super::resp::{Commands, MESSAGE_MAX, Stop, read};

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

impl Handler for Server {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let (out, mut args) = (&mut self.answer, Vec::with_capacity(4));
        out.clear();
        let result = match read(message, |arg| args.push(arg)) {
            Err(Stop::Malformed(problem)) => Err(problem),
            _ => {
                let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                run(&mut keys, net.now(), &args, out)
            }
        };
        if let Err(error) = result {
            log::debug!("{conn}: {error}");
            out.clear();
            line(out, format_args!("-{error}"));
        }
        if !out.is_empty() && net.send(conn, &*out).is_err() {
            net.abort_with_reason(conn, "no memory for an answer");
        }
        // The bytes after a malformed command have no meaning.
        let is_malformed = |error: &str| error.starts_with("ERR Protocol error");
        if result.unwrap_or_else(is_malformed) {
            net.close(conn);
        } else if !net.is_writable(conn) {
            // A client that does not read its answers gets no further ones.
            net.pause(conn);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        net.resume(conn);
    }

    /// Removes expired keys. The timer causes a turn when the next one expires.
    fn on_turn(&mut self, net: &mut Net) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let next = keys.purge(net.now());
        let timer = self.timer.filter(|(at, _)| *at > net.now());
        if next != timer.map(|(at, _)| at) {
            timer.map(|(_, timer)| net.cancel_timer(timer));
            self.timer = next.map(|at| (at, net.set_timer_at(at, 0)));
        }
    }
}

/// Returns the settings of the node.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    // Many clients run on one host.
    config.limits.max_connections_per_address = config.limits.max_connections;
    config.connection.framing = Framing::custom(|| Commands);
    config.connection.max_message_len = MESSAGE_MAX;
    config
}
