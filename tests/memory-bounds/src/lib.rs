//! The common parts of the tests of bounds: a counted heap, a node under attack, an
//! honest peer, and attackers in another process.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use peerloop::{Config, ConnId, Handler, Net, Node, Turn};
use socket2::{Domain, Socket, Type};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// How long anything may take before it counts as hung. Far more than needed,
/// because these machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const KIB: usize = 1024;
pub const MIB: usize = 1024 * KIB;

/// Bytes of the heap in use by this process.
pub fn heap() -> usize {
    HEAP.current_usage()
}

/// File descriptors that this process has open.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("a file of Linux")
        .count()
}

/// How many attackers fit a process: as many as asked, or fewer where the limit of
/// file descriptors is lower.
pub fn as_many_as(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("a file of Linux");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    let limit = soft
        .and_then(|soft| soft.parse().ok())
        .unwrap_or(usize::MAX);
    let count = wanted.min(limit.saturating_sub(100));
    if count < wanted {
        println!("{count} attackers instead of {wanted}: `ulimit -n` is {limit}");
    }
    count
}

/// One test at a time in this process, because they measure all of it, and the
/// bound of the heap for the test.
pub struct Alone {
    _turn: MutexGuard<'static, ()>,
    before: usize,
}

impl Alone {
    pub fn begin() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        HEAP.reset_peak_usage();
        Self {
            _turn: turn,
            before: heap(),
        }
    }

    /// Fails if at any moment since the beginning more of the heap was in use than this.
    #[track_caller]
    pub fn assert_below(&self, bound: usize) {
        let most = HEAP.peak_usage().saturating_sub(self.before);
        println!("at most {} KiB of the heap", most / KIB);
        assert!(
            most < bound,
            "{most} bytes of the heap where {bound} are too many"
        );
    }
}

/// The reaction of a victim to a message.
pub type Reaction = fn(&mut Net, ConnId, &[u8]);

/// A handler that answers and keeps nothing.
pub struct Victim {
    reaction: Reaction,
    pub messages: u64,
}

impl Handler for Victim {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.messages += 1;
        (self.reaction)(net, conn, message);
    }
}

/// Answers a message with itself. A peer that sends without reading gets no answer
/// when its queue is full.
pub fn echo(net: &mut Net, conn: ConnId, message: &[u8]) {
    let _ = net.send(conn, message);
}

/// A node that is run by the test, turn by turn, and its honest peer.
pub struct Attacked {
    pub node: Node<Victim>,
    pub addr: SocketAddr,
    honest: Honest,
}

impl Attacked {
    pub fn new(config: Config, reaction: Reaction) -> Self {
        let victim = Victim {
            reaction,
            messages: 0,
        };
        let mut node = Node::new(config, victim).expect("a node");
        let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
        let honest = Honest::begin(addr);
        let mut attacked = Self { node, addr, honest };
        attacked.until("the honest peer is in", |node| {
            node.net().connection_count() == 1
        });
        attacked
    }

    /// Runs the node until the condition holds, within a bound that only a hang passes.
    #[track_caller]
    pub fn until(&mut self, what: &str, condition: impl FnMut(&mut Node<Victim>) -> bool) {
        run_until(&mut self.node, what, condition);
    }

    /// Runs the node while a thread attacks it.
    #[track_caller]
    pub fn during(&mut self, attack: impl FnOnce() + Send + 'static) {
        self.during_at_most(PATIENCE, attack);
    }

    /// Runs the node while a thread attacks it, with a longer bound.
    #[track_caller]
    pub fn during_at_most(&mut self, bound: Duration, attack: impl FnOnce() + Send + 'static) {
        let attack = std::thread::spawn(attack);
        let over = |_: &mut Node<Victim>| attack.is_finished();
        run_within(&mut self.node, bound, "the attack is over", over);
        attack.join().expect("the attack goes as planned");
    }

    /// Lets the honest peer go on for a while, which shows that it is still served.
    #[track_caller]
    pub fn honest_goes_on(&mut self) {
        let answers = Arc::clone(&self.honest.answers);
        let more = answers.load(Ordering::Relaxed) + 20;
        self.until("the honest peer is served", |_| {
            answers.load(Ordering::Relaxed) >= more
        });
    }

    /// The end of the attack: the honest peer has had every answer, no other
    /// connection is left, and the node has made no more turns than it had events.
    /// Every attacker stands for some events.
    #[track_caller]
    pub fn end(mut self, attackers: u64) -> Node<Victim> {
        self.honest_goes_on();
        self.until("the attackers are gone", |node| {
            node.net().connection_count() == 1
        });
        assert_eq!(self.node.net().metrics().queued_bytes, 0);
        self.honest.stop.store(true, Ordering::Relaxed);
        let thread = self.honest.thread;
        run_until(&mut self.node, "the honest peer ends", |_| {
            thread.is_finished()
        });
        thread.join().expect("it has had every answer");
        run_until(&mut self.node, "its end is seen", |node| {
            node.net().connection_count() == 0
        });
        let answers = self.honest.answers.load(Ordering::Relaxed);
        let turns = self.node.net().metrics().turns;
        let bound = 4 * (attackers + self.node.handler().messages) + 2000;
        println!("{answers} answers to the honest peer, {turns} turns of {bound} allowed");
        assert!(turns < bound, "{turns} turns where {bound} are too many");
        self.node
    }
}

#[track_caller]
fn run_until(
    node: &mut Node<Victim>,
    what: &str,
    condition: impl FnMut(&mut Node<Victim>) -> bool,
) {
    run_within(node, PATIENCE, what, condition);
}

#[track_caller]
fn run_within(
    node: &mut Node<Victim>,
    bound: Duration,
    what: &str,
    mut condition: impl FnMut(&mut Node<Victim>) -> bool,
) {
    let end = Instant::now() + bound;
    while !condition(node) {
        let metrics = node.net().metrics();
        assert!(
            Instant::now() < end,
            "waited too long: {what}: {metrics:#?}"
        );
        assert_ne!(
            node.turn(Some(Duration::from_millis(20))).expect("a turn"),
            Turn::Stopped
        );
    }
}

/// A peer that sends numbered messages, one after the other, and must get each of them back.
struct Honest {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Honest {
    /// It connects from an address that no attacker has.
    fn begin(addr: SocketAddr) -> Self {
        let mut peer = connect_from(Ipv4Addr::new(127, 0, 0, 2).into(), addr);
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let (stopped, answered) = (Arc::clone(&stop), Arc::clone(&answers));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let number = answered.load(Ordering::Relaxed);
                exchange(&mut peer, number);
                answered.store(number + 1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self {
            stop,
            answers,
            thread,
        }
    }
}

/// A frame of the default framing.
pub fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

/// Sends a number and gets it back, as the first bytes of the answer.
pub fn exchange(peer: &mut TcpStream, number: u64) {
    peer.write_all(&frame(&number.to_be_bytes()))
        .expect("the node reads");
    let mut header = [0; 4];
    peer.read_exact(&mut header).expect("an answer");
    let mut body = vec![0; u32::from_be_bytes(header) as usize];
    peer.read_exact(&mut body).expect("the whole answer");
    assert_eq!(body[..8], number.to_be_bytes(), "the answers are in order");
}

/// A raw peer with this address. Its waits are bounded, so that a test fails and does not hang.
pub fn connect_from(source: IpAddr, addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::new(source, 0).into())
        .expect("an address of the loopback");
    socket.connect(&addr.into()).expect("a listener");
    let peer = TcpStream::from(socket);
    peer.set_nodelay(true).expect("a connection");
    peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
    peer.set_write_timeout(Some(PATIENCE)).expect("not zero");
    peer
}

/// Attackers in another process, for as long as this lives.
pub struct Attackers {
    child: Child,
    ready: Arc<AtomicBool>,
}

impl Attackers {
    /// Runs the program of this package.
    pub fn begin(program: &str, target: SocketAddr, count: usize, kind: &str) -> Self {
        let mut child = Command::new(program)
            .args([&target.to_string(), &count.to_string(), kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the attackers");
        let output = child.stdout.take().expect("it is piped");
        let ready = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&ready);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            heard.store(lines.any(|line| line == "ready"), Ordering::Relaxed);
        });
        Self { child, ready }
    }

    /// Whether all of them have attacked.
    pub fn are_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Lets them reset their connections.
    pub fn give_up(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
