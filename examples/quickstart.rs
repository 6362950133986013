//! Two nodes in one process: one sends a million messages, the other sends every
//! one of them back.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```
//!
//! It shows a handler for each role, a node in another thread and one in this
//! thread, sending as fast as the peer reads, and how everything ends.
//! `RUST_LOG=debug` shows what the loops do.

use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node, SendError,
};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

const MESSAGES: u64 = 1_000_000;
const MESSAGE_LEN: usize = 32;

/// The node that answers: every message goes back to its sender.
struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if let Err(error) = net.send(conn, message) {
            log::warn!("answering {conn}: {error}");
            return net.abort(conn);
        }
        // A peer that does not read the answers gets no further ones, so that
        // the queue stays short.
        if !net.is_writable(conn) {
            net.pause(conn);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        net.resume(conn);
    }
}

/// The node that asks, and checks the answers.
#[derive(Default)]
struct Asker {
    asked: u64,
    answered: u64,
    failure: Option<String>,
}

impl Handler for Asker {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.on_drain(net, conn);
    }

    // Called whenever the queue has become short: fill it up again, up to its high
    // watermark.
    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        while self.asked < MESSAGES && net.is_writable(conn) {
            match net.send(conn, &message(self.asked)) {
                Ok(()) => self.asked += 1,
                Err(SendError::Full) => return, // `on_drain` follows
                Err(error) => {
                    self.failure = Some(format!("sending message {}: {error}", self.asked));
                    return net.abort(conn);
                }
            }
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, answer: &[u8]) {
        if answer != message(self.answered) {
            self.failure = Some(format!("answer {} is wrong", self.answered));
            return net.abort(conn);
        }
        self.answered += 1;
        if self.answered == MESSAGES {
            net.close(conn);
        }
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        _: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        let addr = info.addr;
        self.failure = Some(format!("connecting to {addr}: {error}"));
        net.shutdown(Duration::ZERO);
    }

    // The last callback of the only connection: there is nothing left to do.
    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        if self.answered < MESSAGES && self.failure.is_none() {
            self.failure = Some(format!("after {} answers: {reason}", self.answered));
        }
        net.shutdown(Duration::ZERO);
    }
}

/// The text of the `number`-th message.
fn message(number: u64) -> [u8; MESSAGE_LEN] {
    let mut message = [b'.'; MESSAGE_LEN];
    message[..8].copy_from_slice(&number.to_be_bytes());
    message
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();

    let mut echo = Node::new(Config::default(), Echo)?;
    let addr = echo.net().listen("127.0.0.1:0")?.addr;
    let echo_handle = echo.handle();
    let echo_thread = thread::spawn(move || echo.run());
    writeln!(out, "the answering node listens on {addr}")?;

    let mut asker = Node::new(Config::default(), Asker::default())?;
    asker.net().connect(addr)?;
    let began = Instant::now();
    asker.run()?;
    let seconds = began.elapsed().as_secs_f64();

    echo_handle.shutdown(Duration::from_secs(1));
    echo_thread
        .join()
        .map_err(|_| "the answering node panicked")??;

    let Asker {
        asked,
        answered,
        failure,
    } = asker.handler();
    if let Some(failure) = failure {
        return Err(failure.as_str().into());
    }
    writeln!(out, "{asked} messages of {MESSAGE_LEN} bytes sent")?;
    writeln!(out, "{answered} answers received, all right and in order")?;
    let rate = *answered as f64 / seconds;
    writeln!(
        out,
        "{seconds:.2} s: {rate:.0} questions and answers a second"
    )?;
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}
