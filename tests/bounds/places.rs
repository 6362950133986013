//! Places of handshakes: attackers that hold all places, many honest clients at
//! once, and connects that fail without end.
#![cfg(target_os = "linux")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, Handler, Net, Node, RunningNode, TimerId, Transport,
};

use super::util::steps::{TwoSteps, try_connect_from};
use super::within;

/// The result of `Handler::transport`.
type Made = Result<Transport, Box<dyn std::error::Error + Send + Sync>>;

/// Serves connections with sessions that `make` returns.
struct Server<F> {
    make: F,
    /// How long a turn takes.
    turn: Duration,
}

impl<F: FnMut(&ConnInfo) -> Made> Handler for Server<F> {
    fn transport(&mut self, _: &mut Net, _: ConnId, info: &ConnInfo) -> Made {
        (self.make)(info)
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_turn(&mut self, _: &mut Net) {
        thread::sleep(self.turn);
    }
}

fn serve<F: FnMut(&ConnInfo) -> Made + Send + 'static>(
    turn: Duration,
    make: F,
) -> (RunningNode<Server<F>>, SocketAddr) {
    let mut node = Node::new(Config::default(), Server { make, turn }).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    (node.spawn().unwrap(), addr)
}

/// Threads that go on until they are stopped.
struct Crowd {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn new() -> Self {
        Self {
            stop: Arc::default(),
            threads: Vec::new(),
        }
    }

    fn spawn(&mut self, body: impl FnOnce(&AtomicBool) + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        let thread = thread::Builder::new().stack_size(128 * 1024);
        let thread = thread.spawn(move || body(&stop)).unwrap();
        self.threads.push(thread);
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Reads until a byte has come. Fails at the end of the stream and of the patience.
fn await_byte(stream: &mut TcpStream, begun: Instant, patience: Duration) -> io::Result<u8> {
    let mut byte = [0];
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut byte) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(byte[0]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(feature = "noise")]
mod silent {
    use std::iter;

    use peerloop::noise::{Noise, Pattern, StaticKey};

    use super::*;

    const HONEST: usize = 15;
    const PATIENCE: Duration = Duration::from_secs(5);

    /// The first message of Noise XX, with the length before it.
    fn hello() -> Vec<u8> {
        [0, 32].into_iter().chain(iter::repeat_n(9, 32)).collect()
    }

    /// Holds a connection for as long as the node lets it, and comes again.
    fn hold(ip: [u8; 4], addr: SocketAddr, sent: &[u8], stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            let Ok(mut stream) = try_connect_from(ip, addr) else {
                continue;
            };
            let _ = stream.write_all(sent);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            while !stop.load(Ordering::SeqCst) {
                match stream.read(&mut [0; 256]) {
                    Ok(count) if count > 0 => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    _ => break,
                }
            }
        }
    }

    /// How long the slowest of the honest clients waits for the answer to its first message.
    fn slowest(addresses: u8, each: usize, sent: &[u8]) -> Duration {
        let key = StaticKey::from_secret([7; 32]);
        let (node, addr) = serve(Duration::ZERO, move |info| {
            let noise = Noise::new(Pattern::XX, info.direction).local_key(&key);
            Ok(noise.build()?.into())
        });
        let mut crowd = Crowd::new();
        for address in 0..addresses {
            for _ in 0..each {
                let sent = sent.to_vec();
                crowd.spawn(move |stop| hold([127, 0, 0, 2 + address], addr, &sent, stop));
            }
        }
        thread::sleep(Duration::from_secs(1));
        let wait = |number: usize| {
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(150) * number as u32);
                let begun = Instant::now();
                let mut stream = try_connect_from([127, 0, 0, 77], addr).ok()?;
                stream.write_all(&hello()).ok()?;
                await_byte(&mut stream, begun, PATIENCE).ok()?;
                Some(begun.elapsed())
            })
        };
        let waits: Vec<_> = (0..HONEST).map(wait).collect();
        let waits = waits.into_iter().map(|wait| wait.join().unwrap());
        let slowest = waits.map(|wait| wait.unwrap_or(PATIENCE)).max();
        drop(crowd);
        node.handle().shutdown(Duration::ZERO);
        node.join().unwrap();
        slowest.unwrap_or_default()
    }

    fn in_within_a_second(addresses: u8, each: usize, sent: &[u8]) {
        let target = [("a handshake is answered", Duration::from_millis(200))];
        within(target, || [slowest(addresses, each, sent)]);
    }

    #[test]
    #[ignore = "timed: .ci/run bounds"]
    fn silent_clients_of_two_addresses_are_evicted() {
        in_within_a_second(2, 128, b"");
    }

    #[test]
    #[ignore = "timed: .ci/run bounds"]
    fn silent_clients_in_a_full_backlog_are_evicted() {
        in_within_a_second(2, 256, b"");
    }

    #[test]
    #[ignore = "timed: .ci/run bounds"]
    fn silent_clients_of_eight_addresses_are_evicted() {
        in_within_a_second(8, 128, b"");
    }

    #[test]
    #[ignore = "timed: .ci/run bounds"]
    fn clients_with_one_byte_are_evicted() {
        in_within_a_second(8, 128, &hello()[..1]);
    }

    #[test]
    #[ignore = "timed: .ci/run bounds"]
    fn clients_with_a_valid_first_step_are_evicted() {
        in_within_a_second(8, 128, &hello());
    }
}

mod storm {
    use super::*;

    const CLIENTS: usize = 300;
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Connects from this address and makes both steps.
    fn attempt(ip: [u8; 4], addr: SocketAddr) -> io::Result<TcpStream> {
        let begun = Instant::now();
        let mut stream = try_connect_from(ip, addr)?;
        for step in 1..=2 {
            stream.write_all(&[step])?;
            await_byte(&mut stream, begun, PATIENCE)?;
        }
        Ok(stream)
    }

    /// How long it takes until all are in, from so many addresses.
    fn time_to_all(turn: Duration, addresses: usize) -> Duration {
        let (node, addr) = serve(turn, |_| {
            let work = Duration::from_millis(1);
            Ok(TwoSteps::new(work).into())
        });
        let inside = Arc::new(AtomicUsize::new(0));
        let mut crowd = Crowd::new();
        let begun = Instant::now();
        for number in 0..CLIENTS {
            let inside = Arc::clone(&inside);
            let address = number % addresses;
            let ip = [127, 1, (address / 250) as u8, 1 + (address % 250) as u8];
            crowd.spawn(move |stop| {
                while !stop.load(Ordering::SeqCst) {
                    if let Ok(_stream) = attempt(ip, addr) {
                        inside.fetch_add(1, Ordering::SeqCst);
                        while !stop.load(Ordering::SeqCst) {
                            thread::sleep(Duration::from_millis(50));
                        }
                    }
                }
            });
        }
        let is_over = || inside.load(Ordering::SeqCst) == CLIENTS;
        while !is_over() && begun.elapsed() < Duration::from_secs(15) {
            thread::sleep(Duration::from_millis(20));
        }
        let took = begun.elapsed();
        println!("{} of {CLIENTS} are in", inside.load(Ordering::SeqCst));
        drop(crowd);
        node.handle().shutdown(Duration::ZERO);
        node.join().unwrap();
        took
    }

    fn over_in_ten_seconds(turn: Duration, addresses: usize) {
        within([("all are in", Duration::from_secs(2))], || {
            [time_to_all(turn, addresses)]
        });
    }

    #[test]
    #[ignore = "timed: .ci/run bounds"]
    fn storm_with_short_turns_ends_in_ten_seconds() {
        over_in_ten_seconds(Duration::ZERO, CLIENTS);
    }

    #[test]
    #[ignore = "timed: .ci/run bounds"]
    fn storm_with_turns_of_50_ms_ends() {
        over_in_ten_seconds(Duration::from_millis(50), CLIENTS);
    }

    #[test]
    #[ignore = "timed: .ci/run bounds"]
    fn storm_of_four_addresses_ends() {
        over_in_ten_seconds(Duration::from_millis(50), 4);
    }
}

/// Connects again as soon as it has failed, and has a timer.
#[derive(Default)]
struct Again {
    failures: u64,
    late: Duration,
    due: Option<Instant>,
}

impl Handler for Again {
    fn on_start(&mut self, net: &mut Net) {
        let after = Duration::from_millis(50);
        self.due = Some(Instant::now() + after);
        net.set_timer(after, 0);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_connect_failed(&mut self, net: &mut Net, _: ConnId, info: &ConnInfo, _: ConnectError) {
        self.failures += 1;
        net.connect(info.addr).expect("it is within the limits");
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        let late = self.due.map(|due| due.elapsed()).unwrap_or_default();
        self.late = self.late.max(late);
        self.on_start(net);
    }
}

#[test]
#[ignore = "timed: .ci/run bounds"]
fn connect_in_on_connect_failed_leaves_time() {
    within([("a timer is late", Duration::from_millis(20))], || {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = closed.local_addr().unwrap();
        drop(closed);
        let mut node = Node::new(Config::default(), Again::default()).unwrap();
        node.net().connect(addr).unwrap();
        let end = node.run_for(Duration::from_secs(3)).unwrap();
        println!("{end:?} after {} failures", node.handler().failures);
        // 20 at once, then 10 a second, and the first.
        assert!((40..=53).contains(&node.handler().failures));
        let turns = node.net().metrics().turns;
        assert!(turns < 1000, "{turns} turns in 3 s");
        [node.handler().late]
    });
}
