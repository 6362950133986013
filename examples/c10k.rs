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

use many::{config, question};
use peerloop::{
    ConnId, ConnInfo, ConnMap, ConnectError, DisconnectReason, Handle, Handler, Net, Node, TimerId,
};
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: c10k [--idle NUMBER] [--talking NUMBER] [--messages NUMBER]

10,000 idle connections, and 1,000 that exchange 100 messages each.";

/// Connections of one client process: well below the usual limits of file
/// descriptors.
const PER_PROCESS: usize = 1000;

/// How long a process waits for progress before it gives up.
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
    results: Tally,
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
    /// A client process has ended.
    fn client_ended(&mut self, net: &mut Net, result: Tally) {
        self.alive = net.now();
        self.results.answers += result.answers;
        self.results.lost += result.lost;
        self.clients -= 1;
        // After a loss the others would wait in vain for all to be connected.
        if self.clients == 0 || result.lost > 0 {
            net.shutdown(Duration::from_secs(1));
        }
    }
}

/// The result of a client process.
#[derive(Clone, Copy, Default)]
struct Tally {
    answers: u64,
    /// Connections that failed or ended early, and answers that were wrong.
    lost: u64,
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
    alive: Instant,
    tally: Tally,
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
        self.tally.answers += 1;
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

    /// Counts a loss and ends, because one loss fails the run.
    fn lose(&mut self, net: &mut Net, what: &str) {
        if self.tally.lost == 0 {
            eprintln!("{}: {what}", self.source.ip());
        }
        self.tally.lost += 1;
        net.shutdown(Duration::ZERO);
    }
}

impl Handler for Swarm {
    fn on_start(&mut self, net: &mut Net) {
        net.set_timer(Duration::from_secs(1), 0);
        for _ in 0..self
            .to_connect
            .min(net.config().limits.max_outbound_connecting)
        {
            self.connect(net);
        }
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.alive = net.now();
        self.left.insert(conn, 1);
        self.ask(net, conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.alive = net.now();
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

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        if net.now() - self.alive > PATIENCE {
            return self.lose(net, "nothing happens any more");
        }
        net.set_timer(Duration::from_secs(1), 0);
    }
}

/// A client process: its connections, and at the end a line with the result.
fn run_swarm(server: SocketAddr, source: IpAddr, share: Share) -> Result<(), Box<dyn Error>> {
    let connections = share.idle + share.talking;
    let swarm = Swarm {
        server,
        source: SocketAddr::new(source, 0),
        to_connect: connections,
        talking: share.talking,
        messages: share.messages,
        left: ConnMap::new(),
        conns: Vec::with_capacity(connections),
        unsignalled: connections,
        busy: 0,
        alive: Instant::now(),
        tally: Tally::default(),
    };
    let mut node = Node::new(config(connections), swarm)?;
    node.run()?;
    let Tally { answers, lost } = node.handler().tally;
    Ok(writeln!(io::stdout(), "{answers} {lost}")?)
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
fn start(
    server: SocketAddr,
    number: usize,
    share: Share,
    handle: Handle<Server>,
) -> Result<(), Box<dyn Error>> {
    let [.., high, low] = (number + 2).to_be_bytes();
    let source = Ipv4Addr::new(127, 0, high, low);
    let numbers = [share.idle as u64, share.talking as u64, share.messages];
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--swarm", &server.to_string(), &source.to_string()])
        .args(numbers.map(|number| number.to_string()))
        .stdout(Stdio::piped())
        .spawn()?;
    thread::spawn(move || {
        let result = result(&mut child).unwrap_or_else(|| Tally {
            answers: 0,
            lost: share.answers(),
        });
        // A server that has stopped has given up, and has reported why.
        let _ = handle.ask(move |server, net| server.client_ended(net, result));
    });
    Ok(())
}

/// The result that a client process has printed, if it ended well.
fn result(child: &mut Child) -> Option<Tally> {
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    let line = lines.next().and_then(Result::ok);
    let status = child.wait().ok()?;
    let line = line.filter(|_| status.success())?;
    let (answers, lost) = line.split_once(' ')?;
    Some(Tally {
        answers: answers.parse().ok()?,
        lost: lost.parse().ok()?,
    })
}

fn serve(share: Share) -> Result<(), Box<dyn Error>> {
    let expected = share.idle + share.talking;
    let clients = expected.div_ceil(PER_PROCESS).min(share.talking);
    if clients == 0 {
        return Err("somebody has to talk".into());
    }
    if share.messages == 0 {
        return Err("an active connection sends at least one message".into());
    }
    let server = Server {
        expected,
        clients,
        messages: 0,
        seen: 0,
        most: 0,
        alive: Instant::now(),
        results: Tally::default(),
    };
    let mut node = Node::new(config(expected), server)?;
    let addr = node.net().listen("0.0.0.0:0")?.addr;
    let addr = SocketAddr::from(([127, 0, 0, 1], addr.port()));
    println!("{expected} connections from {clients} processes to {addr}");
    for number in 0..clients {
        start(addr, number, share.part(number, clients), node.handle())?;
    }
    let begun = Instant::now();
    node.run()?;
    let seconds = begun.elapsed().as_secs_f64();
    let server = node.handler();
    let (most, Tally { answers, lost }) = (server.most, server.results);
    let wanted = share.answers();
    println!("{most} connections at once, {answers} of {wanted} answers right, {seconds:.1} s");
    if most == expected && answers == wanted && lost == 0 {
        return Ok(());
    }
    Err(format!("something was lost: {lost} failures").into())
}

fn run() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::{Long, Short, ValueExt};

    let mut share = Share {
        idle: 10_000,
        talking: 1000,
        messages: 100,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("idle") => share.idle = parser.value()?.parse()?,
            Long("talking") => share.talking = parser.value()?.parse()?,
            Long("messages") => share.messages = parser.value()?.parse()?,
            // The arguments with which this program starts itself.
            Long("swarm") => {
                let (server, source) = (parser.value()?.parse()?, parser.value()?.parse()?);
                let share = Share {
                    idle: parser.value()?.parse()?,
                    talking: parser.value()?.parse()?,
                    messages: parser.value()?.parse()?,
                };
                return run_swarm(server, source, share);
            }
            Short('h') | Long("help") => return Ok(writeln!(io::stdout(), "{USAGE}")?),
            _ => return Err(format!("{}\n{USAGE}", argument.unexpected()).into()),
        }
    }
    serve(share)
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("c10k: {error}");
            ExitCode::FAILURE
        }
    }
}
