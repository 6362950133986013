//! A server with peers that keep to the agreed rate, and peers that flood it.
//!
//! ```text
//! cargo run --example rate_limiting
//! ```
//!
//! It shows `RateLimits`, for a connection and for all connections of an address,
//! and `Net::set_rate`. At first the server slows floods down: messages beyond the
//! rate wait at the peer, because of TCP flow control, and none is lost. Twice a
//! second the server reviews its connections. If a peer was more than twice as fast
//! as agreed in two reviews in a row, the agreed rate is its limit from then on, and
//! the next message beyond it ends the connection.
//!
//! The peers are threads with blocking sockets. They have the addresses 127.0.0.2
//! and so on. Linux and Windows have them, elsewhere they must be added to the
//! loopback interface.

use std::error::Error;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use peerloop::config::{OnExcess, Rate, RateLimits};
use peerloop::{Config, ConnId, ConnMap, DisconnectReason, Handler, Net, Node, RunEnd, TimerId};
use socket2::{Domain, Socket, Type};

/// The last part of the address of each peer. Two that flood share an address.
const POLITE: &[u8] = &[2, 3, 4, 5, 6, 7];
const FLOODING: &[u8] = &[8, 9, 9];

/// Messages per second that are agreed, and the limits.
const AGREED: u32 = 20;
const PER_CONNECTION: Rate = rate(100, 50);
const PER_ADDRESS: Rate = rate(150, 75);

/// How many messages each polite peer sends while the program runs.
const MESSAGES: u64 = 40;
const MESSAGE_LEN: usize = 1024;

const REVIEW_EVERY: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

const fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second, burst }
}

fn limits(rate: Rate, on_excess: OnExcess) -> RateLimits {
    RateLimits {
        receive_messages: Some(rate),
        on_excess,
        ..Default::default()
    }
}

/// An ended connection: its address, its messages, its age and the reason.
type Ended = (IpAddr, u64, Duration, DisconnectReason);

#[derive(Default)]
struct Peer {
    received: u64,
    /// How many messages had been received at the last review.
    reviewed: u64,
    /// How many reviews in a row have found the peer too fast.
    strikes: u32,
}

struct Server {
    peers: ConnMap<Peer>,
    last_review: Instant,
    lost: u64,
    ended: Vec<Ended>,
}

impl Handler for Server {
    fn on_start(&mut self, net: &mut Net) {
        net.set_interval(REVIEW_EVERY, 0);
    }

    fn on_message(&mut self, _: &mut Net, conn: ConnId, message: &[u8]) {
        let peer = self.peers.entry(conn).or_default();
        self.lost += u64::from(message.first_chunk() != Some(&peer.received.to_be_bytes()));
        peer.received += 1;
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        // The loop may be late.
        let seconds = (net.now() - self.last_review).as_secs_f64();
        self.last_review = net.now();
        for (conn, peer) in self.peers.iter_mut() {
            let per_second = (peer.received - peer.reviewed) as f64 / seconds;
            let is_fast = per_second > f64::from(2 * AGREED);
            peer.reviewed = peer.received;
            peer.strikes = if is_fast { peer.strikes + 1 } else { 0 };
            if peer.strikes == 2 {
                println!("{conn}: {per_second:.0} messages per second");
                let limits = limits(rate(AGREED, AGREED), OnExcess::Disconnect);
                if net.set_rate(conn, limits).is_err() {
                    net.abort(conn);
                }
            }
        }
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        let received = self.peers.remove(conn).map_or(0, |peer| peer.received);
        if let Some(it) = net.connection(conn) {
            let (addr, age) = (it.info().addr, it.since().elapsed());
            println!("{conn}: {addr} ended after {received} messages, {reason}");
            self.ended.push((addr.ip(), received, age, reason));
        }
    }
}

/// Connects from this address.
fn connect(server: SocketAddr, host: u8) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// Sends numbered messages until the connection ends.
fn send(mut stream: TcpStream, pause: Duration) -> io::Result<()> {
    for number in 0_u64.. {
        let mut message = [0; MESSAGE_LEN];
        message[..8].copy_from_slice(&number.to_be_bytes());
        stream.write_all(&[&(MESSAGE_LEN as u32).to_be_bytes()[..], &message].concat())?;
        thread::sleep(pause);
    }
    Ok(())
}

/// The most messages that a rate allows in this time (`Rate`).
fn allowed(rate: Rate, time: Duration) -> u64 {
    let more = time.as_secs_f64() * f64::from(rate.per_second);
    u64::from(rate.burst + rate.per_second / 50 + 1) + more as u64
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.connection.rate = limits(PER_CONNECTION, OnExcess::SlowDown);
    config.limits.rate_per_address = limits(PER_ADDRESS, OnExcess::SlowDown);
    let server = Server {
        peers: ConnMap::new(),
        last_review: Instant::now(),
        lost: 0,
        ended: Vec::new(),
    };
    let mut node = Node::new(config, server)?;
    let addr = node.net().listen("127.0.0.1:0")?.addr;
    let (polite, flooding) = (POLITE.len(), FLOODING.len());
    println!("{polite} peers send {AGREED} messages per second, {flooding} as many as they can");
    let pauses = [Duration::from_secs(1) / AGREED, Duration::ZERO];
    for (hosts, pause) in [POLITE, FLOODING].into_iter().zip(pauses) {
        for host in hosts {
            let stream = connect(addr, *host)?;
            thread::spawn(move || send(stream, pause));
        }
    }
    let end = node.run_until(PATIENCE, |server, _| {
        let done = server.peers.values().filter(|it| it.received >= MESSAGES);
        server.ended.len() >= flooding && done.count() >= polite
    })?;
    let waits = node.net().metrics().receive_rate_waits;
    let Server { lost, ended, .. } = node.into_handler();
    if end != RunEnd::Done || lost > 0 {
        return Err(format!("{end:?}, {} ended, {lost} lost", ended.len()).into());
    }
    for (ip, received, age, reason) in &ended {
        let same = || ended.iter().filter(|it| it.0 == *ip);
        let of_address = same().map(|it| it.1).sum::<u64>();
        let oldest = same().map(|it| it.2).fold(*age, Duration::max);
        if *received > allowed(PER_CONNECTION, *age)
            || of_address > allowed(PER_ADDRESS, oldest)
            || *reason != DisconnectReason::ReceiveRateExceeded
        {
            return Err(format!("{ip} sends {received} messages in {age:?}: {reason}").into());
        }
    }
    println!("no message is lost, connections have waited {waits} times");
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rate_limiting: {error}");
            ExitCode::FAILURE
        }
    }
}
