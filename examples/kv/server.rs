//! The server: commands come in, answers go out, and keys expire.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use peerloop::config::{Keepalive, OnFramingError};
use peerloop::framing::Framing;
use peerloop::{Config, ConnId, Handler, Net, TimerId};

use super::commands::{line, run};
use super::resp::{COMMAND_MAX, Commands, arguments};
use super::store::Store;

/// The handler of a shard. All shards have the same store, behind one lock, so that
/// each command is atomic.
pub(crate) struct Server {
    pub(crate) store: Arc<Mutex<Store>>,
    /// The answer to a command.
    pub(crate) answer: Vec<u8>,
    /// The timer for the key that expires first.
    pub(crate) timer: Option<(Instant, TimerId)>,
}

impl Server {
    /// Sets the timer to the time at which the next key expires.
    fn set_timer(&mut self, net: &mut Net, next: Option<Instant>) {
        let Some(at) = next else { return };
        if self.timer.is_none_or(|(armed, _)| at < armed) {
            let timer = net.set_timer_at(at, 0);
            if let Some((_, later)) = self.timer.replace((at, timer)) {
                net.cancel_timer(later);
            }
        }
    }
}

fn lock<'a>(store: &'a Mutex<Store>, net: &Net) -> MutexGuard<'a, Store> {
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    store.now = net.now();
    store
}

impl Handler for Server {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.answer.clear();
        let mut store = lock(&self.store, net);
        let mut is_last = false;
        let result = arguments(message).and_then(|command| {
            let Some(name) = command.first() else {
                return Ok(());
            };
            is_last = name.eq_ignore_ascii_case(b"QUIT");
            run(&mut store, &command, &mut self.answer)
        });
        let next = store.next_expiry();
        drop(store);
        self.set_timer(net, next);
        if let Err(error) = result {
            self.answer.clear();
            line(&mut self.answer, format_args!("-{error}"));
        }
        if !self.answer.is_empty() && net.send(conn, &self.answer).is_err() {
            net.abort_with_reason(conn, "no memory for an answer");
        }
        if is_last {
            net.close(conn);
        }
        // A client that does not read its answers gets no further ones.
        if !net.is_writable(conn) {
            net.pause(conn);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        net.resume(conn);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        self.timer = None;
        let next = lock(&self.store, net).purge();
        self.set_timer(net, next);
    }
}

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.limits.max_connections_per_address = config.limits.max_connections;
    config.sockets.keepalive = Some(Keepalive::default());
    let connection = &mut config.connection;
    connection.framing = Framing::custom(Commands::default);
    // An answer is longer than a value by a line.
    connection.max_message_len = 2 * COMMAND_MAX;
    connection.on_framing_error = OnFramingError::Close;
    connection.timeouts.idle = None;
    connection.send_queue.max_bytes = 8 * COMMAND_MAX;
    config
}
