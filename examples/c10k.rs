//! Ten thousand idle connections and a thousand active ones, on one loop in
//! one thread.
//!
//! ```text
//! cargo run --release --example c10k
//! cargo run --release --example c10k -- --idle 1000 --talking 100
//! ```
//!
//! The clients run in child processes, because one process may not have
//! enough file descriptors for all (`ulimit -n`; the server needs one for each
//! connection). Each process connects from a different address, 127.0.0.2 and
//! so on, because an address has only some 28,000 ports to connect from. When
//! all are connected, the server says so. Then the active ones exchange their
//! messages, one at a time, and at the end each idle one sends one message, to
//! check that its connection still works. Every answer is compared. The exit
//! code says whether anything was lost. Linux only: elsewhere the loopback
//! interface has one address.
//!
//! Every connection begins with a greeting, and a client makes its next
//! connection when a greeting is answered. Otherwise thousands of connects at
//! once overflow the listener's backlog. The system then answers with SYN
//! cookies, of which it keeps no record, and a client that sends nothing would
//! consider itself connected although the server has no such connection.

#[path = "support/many.rs"]
mod many;
mod support;

use many::{config, question};
use peerloop::{
    ConnId, ConnInfo, ConnMap, ConnectError, DisconnectReason, Handle, Handler, Net, Node, TimerId,
};
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use lexopt::prelude::ValueExt;

use support::{Arguments, Outcome};

const USAGE: &str = "usage: c10k [--idle NUMBER] [--talking NUMBER] [--messages NUMBER]

10,000 idle connections, and 1,000 that exchange 100 messages each.";

/// Connections of one client process: below 1,024, the usual limit of file
/// descriptors.
const PER_PROCESS: usize = 1000;

/// How long the server waits for progress before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The message of the server when all clients are connected.
const BEGIN: &[u8] = b"begin";

/// Answers, and prints once a second how many connections and messages there
/// are.
struct Server {
    expected: usize,
    clients: usize,
    /// Greetings included.
    messages: u64,
    seen: u64,
    most: usize,
    /// When something happened last.
    alive: Instant,
    /// Answers that clients have received, and that were right.
    answers: u64,
}

impl Handler for Server {
    fn on_start(&mut self, net: &mut Net) {
        net.set_timer(Duration::from_secs(1), 0);
    }

    fn on_connect(&mut self, net: &mut Net, _: ConnId) {
        self.alive = net.now();
        self.most = self.most.max(net.connection_count());
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.alive = net.now();
        self.messages += 1;
        if let Err(error) = net.send(conn, message) {
            log::warn!("answering {conn}: {error}");
            net.abort(conn);
        }
        if self.messages == self.expected as u64 {
            // The last greeting has arrived.
            let all: Vec<ConnId> = net.connections().map(|c| c.id()).collect();
            let outcome = net.broadcast(all, BEGIN);
            log::info!("sent the signal to begin: {outcome:?}");
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        let (connections, messages) = (net.connection_count(), self.messages - self.seen);
        println!("{connections} connections, {messages} messages a second");
        self.seen = self.messages;
        if net.now() - self.alive > PATIENCE {
            eprintln!("nothing has happened for {PATIENCE:?}");
            return net.shutdown(Duration::ZERO);
        }
        net.set_timer(Duration::from_secs(1), 0);
    }
}

impl Server {
    /// A client process has ended. `answers` is zero if something was lost.
    fn client_ended(&mut self, net: &mut Net, answers: u64) {
        self.alive = net.now();
        self.answers += answers;
        self.clients -= 1;
        // After a loss the others would wait in vain for all to be connected.
        if self.clients == 0 || answers == 0 {
            net.shutdown(Duration::from_secs(1));
        }
    }
}

/// Some of the clients, in one child process.
struct Swarm {
    server: SocketAddr,
    source: SocketAddr,
    /// Connects that were not started yet.
    to_connect: usize,
    talking: usize,
    messages: u64,
    /// How many questions each connection has left, the present one included.
    left: ConnMap<u64>,
    /// Connections whose greeting was answered. The first of them are active, the
    /// others are idle.
    conns: Vec<ConnId>,
    /// How many of them have not got the signal to begin yet.
    unsignalled: usize,
    /// Connections that are not done in the present phase.
    busy: usize,
    /// The reason of the first loss.
    lost: Option<String>,
}

impl Swarm {
    fn connect(&mut self, net: &mut Net) {
        self.to_connect -= 1;
        let mut options = net.connect_options();
        options.source = Some(self.source);
        if let Err(error) = net.connect_with(self.server, options) {
            self.lose(net, &format!("connecting: {error}"));
        }
    }

    fn begin(&mut self, net: &mut Net) {
        let talking = self.conns[..self.talking].to_vec();
        self.start(net, &talking, self.messages);
    }

    /// Has some of the connections ask so many questions each.
    fn start(&mut self, net: &mut Net, conns: &[ConnId], questions: u64) {
        self.busy = conns.len();
        for conn in conns {
            self.left.insert(*conn, questions);
            self.ask(net, *conn);
        }
    }

    fn ask(&mut self, net: &mut Net, conn: ConnId) {
        let question = question(conn, self.left[conn]);
        if let Err(error) = net.send(conn, &question) {
            self.lose(net, &format!("asking on {conn}: {error}"));
        }
    }

    fn take_answer(&mut self, net: &mut Net, conn: ConnId, answer: &[u8]) {
        let Some(left) = self.left.get_mut(conn).filter(|left| **left > 0) else {
            return self.lose(net, "an answer to nothing");
        };
        if answer != question(conn, *left) {
            return self.lose(net, "a wrong answer");
        }
        *left -= 1;
        if *left > 0 {
            return self.ask(net, conn);
        }
        if self.unsignalled > 0 {
            return self.greeted(net, conn);
        }
        self.busy -= 1;
        if self.busy > 0 {
            return;
        }
        let idle = self.conns.split_off(self.talking.min(self.conns.len()));
        if idle.is_empty() {
            net.shutdown(Duration::from_secs(5));
        } else {
            self.start(net, &idle, 1);
        }
    }

    /// The server has this connection: make the next one.
    fn greeted(&mut self, net: &mut Net, conn: ConnId) {
        self.conns.push(conn);
        if self.to_connect > 0 {
            self.connect(net);
        }
    }

    /// Ends the process, because one loss fails the run.
    fn lose(&mut self, net: &mut Net, what: &str) {
        self.lost.get_or_insert_with(|| what.to_owned());
        net.shutdown(Duration::ZERO);
    }
}

impl Handler for Swarm {
    fn on_start(&mut self, net: &mut Net) {
        let at_once = net.config().limits.max_outbound_connecting;
        for _ in 0..self.to_connect.min(at_once) {
            self.connect(net);
        }
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.left.insert(conn, 1);
        self.ask(net, conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if message != BEGIN {
            return self.take_answer(net, conn, message);
        }
        // There is an order on a connection, but not across connections: all
        // greetings are answered only when all have this signal.
        self.unsignalled -= 1;
        if self.unsignalled == 0 {
            self.begin(net);
        }
    }

    fn on_connect_failed(&mut self, net: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.lose(net, &format!("cannot connect: {error}"));
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        if reason != DisconnectReason::Shutdown {
            self.lose(net, &format!("{conn} has ended: {reason}"));
        }
    }
}

/// Runs a client process.
fn run_swarm(server: SocketAddr, source: SocketAddr, share: Share) -> Outcome {
    let connections = share.idle + share.talking;
    let swarm = Swarm {
        server,
        source,
        to_connect: connections,
        talking: share.talking,
        messages: share.messages,
        left: ConnMap::new(),
        conns: Vec::with_capacity(connections),
        unsignalled: connections,
        busy: 0,
        lost: None,
    };
    let mut node = Node::new(config(connections), swarm)?;
    node.run()?;
    match node.handler_mut().lost.take() {
        None => Ok(()),
        Some(what) => Err(format!("{source}: {what}").into()),
    }
}

/// The work of the clients, or of some of them.
#[derive(Clone, Copy)]
struct Share {
    idle: usize,
    talking: usize,
    messages: u64,
}

impl Share {
    /// The part of one of `of` processes. All parts together are the whole.
    fn part(self, number: usize, of: usize) -> Self {
        let part = |whole: usize| whole * (number + 1) / of - whole * number / of;
        Self {
            idle: part(self.idle),
            talking: part(self.talking),
            ..self
        }
    }

    /// The number of answers, to the greetings and to the questions.
    fn answers(self) -> u64 {
        2 * self.idle as u64 + self.talking as u64 * (1 + self.messages)
    }
}

/// Starts a client process, and a thread that reports its end to the server.
fn start(server: SocketAddr, number: usize, share: Share, handle: Handle<Server>) -> Outcome {
    let [.., high, low] = (number + 2).to_be_bytes();
    let source = SocketAddr::from((Ipv4Addr::new(127, 0, high, low), 0));
    let mut child = Command::new(env::current_exe()?)
        .args([server, source].map(|addr| addr.to_string()))
        .args(["--idle", &share.idle.to_string()])
        .args(["--talking", &share.talking.to_string()])
        .args(["--messages", &share.messages.to_string()])
        .spawn()?;
    thread::spawn(move || {
        let is_complete = child.wait().is_ok_and(|status| status.success());
        let answers = if is_complete { share.answers() } else { 0 };
        // A server that has stopped has given up, and has reported why.
        let _ = handle.post(move |server, net| server.client_ended(net, answers));
    });
    Ok(())
}

fn serve(share: Share) -> Outcome {
    let expected = share.idle + share.talking;
    let clients = expected.div_ceil(PER_PROCESS).min(share.talking);
    if clients == 0 || share.messages == 0 {
        return Err("at least one connection has to send a message".into());
    }
    let server = Server {
        expected,
        clients,
        messages: 0,
        seen: 0,
        most: 0,
        alive: Instant::now(),
        answers: 0,
    };
    let mut node = Node::new(config(expected), server)?;
    let port = node.net().listen("0.0.0.0:0")?.addr.port();
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    println!("{expected} connections from {clients} processes to {addr}");
    for number in 0..clients {
        start(addr, number, share.part(number, clients), node.handle())?;
    }
    let begun = Instant::now();
    node.run()?;
    let seconds = begun.elapsed().as_secs_f64();
    let Server { most, answers, .. } = *node.handler();
    let wanted = share.answers();
    println!("{most} connections at once, {answers} of {wanted} answers right, {seconds:.1} s");
    if most == expected && answers == wanted {
        return Ok(());
    }
    if node.net().metrics().accept_errors > 0 {
        return Err("too few file descriptors: see `ulimit -n`".into());
    }
    Err("something was lost".into())
}

fn run(arguments: Arguments) -> Outcome {
    let share = Share {
        idle: arguments.option("idle", 10_000)?,
        talking: arguments.option("talking", 1000)?,
        messages: arguments.option("messages", 100)?,
    };
    match arguments.words.as_slice() {
        [] => serve(share),
        // The arguments with which this program starts itself.
        [server, source] => run_swarm(server.parse()?, source.parse()?, share),
        _ => Err(USAGE.into()),
    }
}

fn main() -> ExitCode {
    support::run(("c10k", USAGE), &["idle", "talking", "messages"], run)
}
