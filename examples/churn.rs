//! Connects, exchanges a message, disconnects, and begins anew, as fast as it goes.
//!
//! ```text
//! cargo run --release --example churn
//! cargo run --release --example churn -- --seconds 60 --at-once 100
//! ```
//!
//! Two nodes in two threads. Who ends a TCP connection in the ordinary way keeps its port for a minute (TIME_WAIT), and
//! at thousands of connections a second there would soon be none left to dial from. So the dialler ends each of them
//! with `Net::abort`, which sends a reset and keeps nothing; it does so when it has had its answer, so that nothing can
//! be lost by it. Both sides count, and the exit code says whether they agree.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use peerloop::{
    Config, ConnId, ConnectError, DisconnectReason, Handle, Handler, Net, Node, Permission, TimerId,
};

const USAGE: &str = "usage: churn [--seconds NUMBER] [--at-once NUMBER]

For 10 seconds, 50 connections at once.";

/// How long nothing may happen before the program gives up.
const PATIENCE: Duration = Duration::from_secs(10);

fn config(at_once: usize) -> Config {
    Config {
        // Of those that were reset the server may not have heard yet.
        max_connections: at_once.saturating_mul(20),
        max_connections_per_ip: at_once.saturating_mul(20),
        max_connecting_outbound: at_once,
        duplicates: Permission::Allowed,
        ..Config::default()
    }
}

/// Answers, and counts who comes and goes.
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

/// Keeps a number of connections coming and going.
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
    fn dial(&mut self, net: &mut Net) {
        if net.now() >= self.until {
            return self.end_if_idle(net);
        }
        match net.connect(self.server) {
            Ok(_) => self.begun += 1,
            Err(error) => self.fail(net, &format!("dialling: {error}")),
        }
    }

    /// The last connection has ended and no other is to be begun.
    fn end_if_idle(&self, net: &mut Net) {
        if self.done == self.begun {
            net.shutdown(Duration::ZERO);
        }
    }

    /// One failure is one too many: the others are not waited for.
    fn fail(&mut self, net: &mut Net, what: &str) {
        eprintln!("{what}");
        self.failures += 1;
        net.shutdown(Duration::ZERO);
    }
}

/// What is said on a connection; no two of them say the same.
fn message(conn: ConnId) -> [u8; 64] {
    let mut message = [b'!'; 64];
    message[..8].copy_from_slice(&conn.to_bits().to_be_bytes());
    message
}

impl Handler for Churner {
    fn on_start(&mut self, net: &mut Net) {
        net.set_timer(Duration::from_secs(1), 0);
        for _ in 0..self.at_once {
            self.dial(net);
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

    fn on_connect_failed(&mut self, net: &mut Net, _: ConnId, _: SocketAddr, error: ConnectError) {
        self.fail(net, &format!("a dial failed: {error}"));
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        match reason {
            DisconnectReason::Local => self.dial(net),
            // What is left when one has failed.
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

/// What the server has counted, once it has heard of as many ends as there were connections, or waited long enough.
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

fn churn(seconds: u64, at_once: usize) -> Result<(), Box<dyn Error>> {
    if at_once == 0 {
        return Err("one connection at least".into());
    }
    let mut server = Node::new(config(at_once), Server::default())?;
    let addr = server.net().listen("127.0.0.1:0")?;
    let handle = server.handle();
    let serving = thread::spawn(move || server.run());
    println!("{at_once} connections at once to {addr}");

    let now = Instant::now();
    let churner = Churner {
        server: addr,
        at_once,
        until: now + Duration::from_secs(seconds),
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

fn run() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::{Long, Short, ValueExt};

    let (mut seconds, mut at_once) = (10, 50);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seconds") => seconds = parser.value()?.parse()?,
            Long("at-once") => at_once = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(writeln!(io::stdout(), "{USAGE}")?),
            _ => return Err(format!("{}\n{USAGE}", argument.unexpected()).into()),
        }
    }
    churn(seconds, at_once)
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("churn: {error}");
            ExitCode::FAILURE
        }
    }
}
