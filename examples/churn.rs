//! Connects, exchanges a message, disconnects, and begins again, as fast as
//! possible.
//!
//! ```text
//! cargo run --release --example churn
//! cargo run --release --example churn -- --seconds 60 --at-once 100
//! ```
//!
//! Two nodes run in two threads. The end that closes a TCP connection first
//! keeps its port for a minute (TIME_WAIT), and at thousands of connections a
//! second there would soon be no port left to connect from. So the connecting
//! node ends each connection with `Net::abort`, which sends a reset and keeps
//! nothing. It does so when it has its answer, so that nothing is lost. Both
//! sides count, and the exit code says whether they agree.

mod support;

use peerloop::config::Limits;
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handle, Handler, Net, Node, TimerId,
};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use support::{Arguments, Outcome};

const USAGE: &str = "usage: churn [--seconds NUMBER] [--at-once NUMBER]

For 10 seconds, 50 connections at once.";

/// How long the program waits for progress before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

fn config(at_once: usize) -> Config {
    Config {
        limits: Limits {
            // The server may not have noticed all resets yet.
            max_connections: at_once.saturating_mul(20),
            max_connections_per_address: at_once.saturating_mul(20),
            max_outbound_connecting: at_once,
            ..Default::default()
        },
        allow_duplicates: true,
        ..Config::default()
    }
}

/// Answers, and counts connections and messages.
#[derive(Clone, Copy, Default)]
struct Server {
    connected: u64,
    messages: u64,
    disconnected: u64,
    failures: u64,
}

impl Handler for Server {
    fn on_connect(&mut self, _: &mut Net, _: ConnId) {
        self.connected += 1;
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.messages += 1;
        if net.send(conn, message).is_err() {
            self.failures += 1;
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.disconnected += 1;
        if reason != DisconnectReason::Reset {
            log::warn!("{conn} has ended: {reason}");
            self.failures += 1;
        }
    }
}

/// Keeps making a number of connections at once.
struct Churner {
    server: SocketAddr,
    at_once: usize,
    until: Instant,
    alive: Instant,
    begun: u64,
    done: u64,
    seen: u64,
    failures: u64,
}

impl Churner {
    fn connect(&mut self, net: &mut Net) {
        if net.now() >= self.until {
            return self.end_if_idle(net);
        }
        match net.connect(self.server) {
            Ok(_) => self.begun += 1,
            Err(error) => self.fail(net, &format!("connecting: {error}")),
        }
    }

    /// Shuts down once the last connection has ended.
    fn end_if_idle(&self, net: &mut Net) {
        if self.done == self.begun {
            net.shutdown(Duration::ZERO);
        }
    }

    /// Counts a failure and ends, because one failure fails the run.
    fn fail(&mut self, net: &mut Net, what: &str) {
        eprintln!("{what}");
        self.failures += 1;
        net.shutdown(Duration::ZERO);
    }
}

/// The message of a connection, different for each.
fn message(conn: ConnId) -> [u8; 64] {
    let mut message = [b'!'; 64];
    message[..8].copy_from_slice(&conn.to_bits().to_be_bytes());
    message
}

impl Handler for Churner {
    fn on_start(&mut self, net: &mut Net) {
        net.set_timer(Duration::from_secs(1), 0);
        for _ in 0..self.at_once {
            self.connect(net);
        }
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        if let Err(error) = net.send(conn, &message(conn)) {
            self.fail(net, &format!("sending on {conn}: {error}"));
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, answer: &[u8]) {
        if answer != message(conn) {
            return self.fail(net, "a wrong answer");
        }
        self.alive = net.now();
        self.done += 1;
        net.abort(conn);
    }

    fn on_connect_failed(&mut self, net: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.fail(net, &format!("cannot connect: {error}"));
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        match reason {
            DisconnectReason::Local => self.connect(net),
            // The remaining connections, after a failure.
            DisconnectReason::Shutdown => {}
            _ => self.fail(net, &format!("{conn} has ended: {reason}")),
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        let (connections, cycles) = (net.connection_count(), self.done - self.seen);
        println!("{connections} connections, {cycles} cycles a second");
        self.seen = self.done;
        if net.now() - self.alive > PATIENCE {
            return self.fail(net, "nothing happens any more");
        }
        net.set_timer(Duration::from_secs(1), 0);
    }
}

/// The counts of the server, once it has noticed the ends of all connections, or
/// after a time.
fn count(server: &Handle<Server>, cycles: u64) -> io::Result<Server> {
    let begun = Instant::now();
    loop {
        let counted = server.ask(|server, _| *server)?;
        if counted.disconnected >= cycles || begun.elapsed() > PATIENCE {
            return Ok(counted);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn churn(seconds: u64, at_once: usize) -> Outcome {
    if seconds == 0 || at_once == 0 {
        return Err("at least one second and one connection".into());
    }
    let mut server = Node::new(config(at_once), Server::default())?;
    let addr = server.net().listen("127.0.0.1:0")?.addr;
    let handle = server.handle();
    let serving = thread::spawn(move || server.run());
    println!("{at_once} connections at once to {addr}");

    let now = Instant::now();
    let until = now.checked_add(Duration::from_secs(seconds));
    let churner = Churner {
        server: addr,
        at_once,
        until: until.ok_or("too many seconds")?,
        alive: now,
        begun: 0,
        done: 0,
        seen: 0,
        failures: 0,
    };
    let mut churner = Node::new(config(at_once), churner)?;
    churner.run()?;
    let took = now.elapsed().as_secs_f64();
    let churner = churner.into_handler();
    let counted = count(&handle, churner.done)?;
    handle.shutdown(Duration::ZERO);
    serving.join().map_err(|_| "the server panicked")??;

    let (begun, done) = (churner.begun, churner.done);
    let rate = done as f64 / took;
    println!("{done} of {begun} cycles complete in {took:.1} s: {rate:.0} a second");
    let Server {
        connected,
        messages,
        disconnected,
        failures,
    } = counted;
    println!("the server has seen {connected} come, {disconnected} go, and {messages} messages");
    let all_agree = [begun, connected, messages, disconnected].map(|count| count == done);
    if all_agree == [true; 4] && failures + churner.failures == 0 {
        return Ok(());
    }
    Err("something was lost".into())
}

fn run(arguments: Arguments) -> Outcome {
    if !arguments.words.is_empty() {
        return Err(USAGE.into());
    }
    let at_once = arguments.option("at-once", 50)?;
    churn(arguments.option("seconds", 10)?, at_once)
}

fn main() -> ExitCode {
    support::run(("churn", USAGE), &["seconds", "at-once"], run)
}
