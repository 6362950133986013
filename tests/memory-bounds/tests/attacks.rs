//! Attacks. Under each of them the heap and the number of turns keep to a bound, and
//! an honest peer, which exchanges numbered messages all the while, gets every
//! answer. The bounds of time catch hangs only.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use memory_bounds::{
    Alone, Attacked, Attackers, KIB, MIB, PATIENCE, as_many_as, connect_from, descriptors, echo,
    exchange, frame, heap,
};
use peerloop::Config;
use peerloop::config::{
    ConnectionConfig, Limits, PrefixLimit, SendQueueConfig, SocketConfig, Timeouts,
};
use socket2::SockRef;

use random::Random;

#[allow(dead_code, reason = "one of the helpers is used")]
#[path = "../../it/util/random.rs"]
mod random;
#[allow(dead_code, reason = "one of the helpers is used")]
#[path = "../../it/util/settings.rs"]
mod settings;

const PROGRAM: &str = env!("CARGO_BIN_EXE_attackers");

/// Accepts this many connections from one address.
fn open_to(count: usize) -> Config {
    Config {
        limits: Limits {
            max_connections: count + 1,
            reserved_outbound: Some(0),
            max_connections_per_address: count + 1,
            ..Default::default()
        },
        ..Config::default()
    }
}

fn loopback(number: u64) -> std::net::IpAddr {
    let [_, high, middle, low] = (number as u32).to_be_bytes();
    [127, 128 | high, middle, low.max(1)].into()
}

mod crowds {
    use super::*;

    const MANY: usize = 10_000;

    #[test]
    fn ten_thousand_half_frames_cost_less_than_twenty_megabytes() {
        let count = as_many_as(MANY);
        let alone = Alone::begin();
        let mut attacked = Attacked::new(open_to(count), echo);
        let quiet = heap();
        let mut attackers = Attackers::begin(PROGRAM, attacked.addr, count, "half-frames");
        attacked.until("all are in and have written", |node| {
            attackers.are_ready() && node.net().connection_count() == count + 1
        });
        attacked.honest_goes_on();
        println!("{count} half frames hold {} KiB", (heap() - quiet) / KIB);
        alone.assert_below(20_000_000);

        attackers.give_up();
        let mut node = attacked.end(count as u64);
        assert_eq!(node.net().metrics().accepted, count as u64 + 1);
        alone.assert_below(20_000_000);
    }

    #[test]
    fn ten_thousand_silent_ones_are_ended_by_their_deadlines() {
        let count = as_many_as(MANY);
        let alone = Alone::begin();
        let mut attacked = Attacked::new(open_to(count), echo);
        // Not for the honest peer, which a machine under load may delay for that
        // long.
        let net = attacked.node.net();
        let mut impatient = net.listen_options();
        impatient.connection_mut().timeouts = Timeouts {
            idle: Some(Duration::from_secs(2)),
            partial_message: Some(Duration::from_secs(1)),
            ..Timeouts::default()
        };
        let listening = net.listen_with("127.0.0.1:0", impatient);
        let addr = listening.expect("a listener").addr;
        let attackers = Attackers::begin(PROGRAM, addr, count, "silent");
        attacked.until("all had their time", |node| {
            let metrics = node.net().metrics();
            attackers.are_ready() && metrics.disconnected == count as u64
        });
        let metrics = attacked.node.net().metrics();
        // Every second one has begun a message. One whose byte came late may have been idle for longer.
        assert_eq!(
            metrics.idle_timeouts + metrics.partial_message_timeouts,
            count as u64
        );
        assert!(metrics.idle_timeouts >= count as u64 / 2);
        assert!(metrics.partial_message_timeouts > 0);
        attacked.end(count as u64);
        alone.assert_below(20_000_000);
    }

    #[test]
    fn a_flood_of_connects_from_one_address_gets_no_more_than_its_share() {
        const COUNT: u64 = 3000;
        let alone = Alone::begin();
        let mut attacked = Attacked::new(Config::default(), echo);
        let share = Config::default().limits.max_connections_per_address;
        let mut attackers = Attackers::begin(PROGRAM, attacked.addr, COUNT as usize, "crowd");
        attacked.until("all have knocked", |node| {
            assert!(node.net().connection_count() <= share + 1);
            let metrics = node.net().metrics();
            attackers.are_ready() && metrics.accepted + metrics.refused_by_address == COUNT + 1
        });
        assert_eq!(attacked.node.net().connection_count(), share + 1);
        attacked.honest_goes_on();
        attackers.give_up();
        let mut node = attacked.end(COUNT);
        let refused = node.net().metrics().refused_by_address;
        assert_eq!(refused, COUNT - share as u64);
        alone.assert_below(2 * MIB);
    }

    #[test]
    fn a_flood_of_connects_from_many_addresses_fills_no_more_than_the_limits() {
        const COUNT: u64 = 3000;
        const LIMIT: usize = 400;
        let alone = Alone::begin();
        let config = Config {
            limits: Limits {
                max_connections: LIMIT + 1,
                reserved_outbound: Some(0),
                max_connections_per_prefix: Some(PrefixLimit {
                    max: 10,
                    ..PrefixLimit::default()
                }),
                ..Default::default()
            },
            ..Config::default()
        };
        let mut attacked = Attacked::new(config, echo);
        let mut attackers =
            Attackers::begin(PROGRAM, attacked.addr, COUNT as usize, "many-addresses");
        attacked.until("all have knocked", |node| {
            assert!(node.net().connection_count() <= LIMIT + 1);
            let metrics = node.net().metrics();
            let refused = metrics.refused_by_total + metrics.refused_by_prefix;
            attackers.are_ready() && metrics.accepted + refused == COUNT + 1
        });
        assert_eq!(attacked.node.net().connection_count(), LIMIT + 1);
        attacked.honest_goes_on();
        attackers.give_up();
        attacked.end(COUNT);
        alone.assert_below(2 * MIB);
    }

    #[test]
    fn one_network_of_many_addresses_gets_no_more_than_its_share() {
        const COUNT: u64 = 1200;
        const NETWORKS: u64 = 60;
        const SHARE: usize = 5;
        let alone = Alone::begin();
        let config = Config {
            limits: Limits {
                max_connections_per_prefix: Some(PrefixLimit {
                    max: SHARE,
                    ..PrefixLimit::default()
                }),
                ..Default::default()
            },
            ..Config::default()
        };
        let mut attacked = Attacked::new(config, echo);
        let mut attackers =
            Attackers::begin(PROGRAM, attacked.addr, COUNT as usize, "many-addresses");
        let admitted = NETWORKS * SHARE as u64;
        attacked.until("all have knocked", |node| {
            let metrics = node.net().metrics();
            attackers.are_ready() && metrics.refused_by_prefix == COUNT - admitted
        });
        assert_eq!(attacked.node.net().connection_count() as u64, admitted + 1);
        attackers.give_up();
        attacked.end(COUNT);
        alone.assert_below(2 * MIB);
    }
}

mod slow_readers {
    use super::*;

    const READERS: u64 = 100;
    const QUEUE: usize = 64 * KIB;
    /// The memory of a queue beside its bytes, because it is made of blocks of
    /// 64 KiB: the sent part of the first one, and the free part of the last.
    const SLACK: usize = 128 * KIB;

    /// Answers a message to all connections, as a chat does, with some KiB beside it.
    fn broadcast(net: &mut peerloop::Net, _: peerloop::ConnId, message: &[u8]) {
        let body = [message, &[9; 8 * KIB]].concat();
        let _ = net.broadcast_all(body, None);
    }

    #[test]
    fn of_a_broadcast_cost_their_queues_and_are_ended_by_the_write_deadline() {
        let alone = Alone::begin();
        let config = Config {
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    high_bytes: QUEUE,
                    low_bytes: QUEUE / 4,
                    max_bytes: QUEUE,
                    ..Default::default()
                },
                timeouts: Timeouts {
                    write_stall: Some(Duration::from_secs(2)),
                    ..Timeouts::default()
                },
                ..Default::default()
            },
            sockets: SocketConfig {
                send_buffer_bytes: Some(16 * KIB),
                ..Default::default()
            },
            ..Config::default()
        };
        let mut attacked = Attacked::new(config, broadcast);
        let readers: Vec<TcpStream> = (0..READERS)
            .map(|number| connect_from(loopback(number), attacked.addr))
            .collect();
        attacked.until("the slow ones have been given up", |node| {
            node.net().metrics().write_stall_timeouts == READERS
        });
        let metrics = attacked.node.net().metrics();
        assert!(metrics.sends_refused > 0, "no queue was full");
        assert!(metrics.max_queued_bytes <= (READERS as usize + 1) * (QUEUE + SLACK));
        attacked.end(READERS);
        alone.assert_below((READERS as usize + 1) * (QUEUE + SLACK) + 2 * MIB);
        drop(readers);
    }
}

mod malformed {
    use peerloop::framing::{ByteOrder, Framing, LengthPrefix};

    use super::*;

    const MAX_MESSAGE_LEN: usize = 64 * KIB;
    const ROUNDS: u64 = 40;

    /// A listener for each framing that can be malformed.
    fn listeners(attacked: &mut Attacked) -> Vec<SocketAddr> {
        let framings = [
            Framing::default(),
            Framing::LengthDelimited(LengthPrefix::Eight(ByteOrder::LittleEndian)),
            Framing::LengthDelimited(LengthPrefix::Varint),
            Framing::Fixed(MAX_MESSAGE_LEN),
            Framing::Delimited(b'\n'),
        ];
        let net = attacked.node.net();
        let listen = |framing| {
            let mut options = net.listen_options();
            options.connection_mut().framing = framing;
            let listening = net.listen_with("127.0.0.1:0", options);
            listening.expect("a listener").addr
        };
        framings.map(listen).into()
    }

    /// Writes to each of them from many addresses, and closes.
    fn write_to_all(
        attacked: &mut Attacked,
        addrs: Vec<SocketAddr>,
        mut next: impl FnMut(&mut Random) -> Vec<u8> + Send + 'static,
    ) {
        attacked.during(move || {
            let mut random = Random::new(7);
            for round in 0..ROUNDS {
                for addr in &addrs {
                    let mut peer = connect_from(loopback(round), *addr);
                    // It may be disconnected in the middle of it.
                    let _ = peer.write_all(&next(&mut random));
                }
            }
        });
    }

    fn attack(next: impl FnMut(&mut Random) -> Vec<u8> + Send + 'static) -> Attacked {
        let config = Config {
            connection: ConnectionConfig {
                max_message_len: MAX_MESSAGE_LEN,
                ..Default::default()
            },
            ..Config::default()
        };
        let mut attacked = Attacked::new(config, echo);
        let addrs = listeners(&mut attacked);
        let everybody = ROUNDS * addrs.len() as u64;
        write_to_all(&mut attacked, addrs, next);
        attacked.until("all have come and gone", |node| {
            node.net().metrics().disconnected == everybody
        });
        attacked
    }

    #[test]
    fn garbage_ends_only_who_sends_it() {
        let alone = Alone::begin();
        let mut attacked = attack(|random| {
            let count = random.next_u64() as usize % (128 * KIB);
            random.bytes(count)
        });
        let metrics = attacked.node.net().metrics();
        assert!(metrics.framing_errors > 0);
        attacked.end(5 * ROUNDS);
        alone.assert_below(8 * MIB);
    }

    #[test]
    fn truncated_headers_and_bodies_end_only_who_sends_them() {
        let alone = Alone::begin();
        let mut attacked = attack(|random| {
            let whole = frame(&[1; 300]);
            let kept = random.next_u64() as usize % whole.len();
            whole[..kept].to_vec()
        });
        attacked.honest_goes_on();
        attacked.end(5 * ROUNDS);
        alone.assert_below(2 * MIB);
    }

    #[test]
    fn oversized_headers_are_refused_before_memory_is_spent() {
        let alone = Alone::begin();
        let mut attacked = attack(|_| vec![0xff; 10]);
        let metrics = attacked.node.net().metrics();
        // A fixed length and a delimiter announce nothing.
        assert_eq!(metrics.framing_errors, 3 * ROUNDS);
        attacked.end(5 * ROUNDS);
        alone.assert_below(2 * MIB);
    }
}

mod fairness {
    use super::*;

    const OTHERS: usize = 100;
    const ROUNDS: usize = 30;

    /// Sends at full speed and reads the answers, until it is disconnected.
    fn flood(addr: SocketAddr) -> TcpStream {
        let peer = connect_from([127, 0, 0, 3].into(), addr);
        let mut writer = peer.try_clone().expect("a descriptor");
        let mut reader = peer.try_clone().expect("a descriptor");
        let messages = frame(&[3; 1000]).repeat(64);
        std::thread::spawn(move || while writer.write_all(&messages).is_ok() {});
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * KIB];
            while reader.read(&mut buffer).is_ok_and(|count| count > 0) {}
        });
        peer
    }

    /// How many turns the node makes until each of the others has its answer, the 99th
    /// percentile of all rounds.
    fn turns_to_answer(attacked: &mut Attacked, peers: &mut [TcpStream]) -> u64 {
        let mut turns = Vec::new();
        for _ in 0..ROUNDS {
            for peer in &mut *peers {
                peer.write_all(&frame(b"a request")).expect("room");
            }
            let before = attacked.node.net().metrics().turns;
            let mut waiting: Vec<&mut TcpStream> = peers.iter_mut().collect();
            attacked.until("everybody has an answer", |node| {
                let took = node.net().metrics().turns - before;
                let all = waiting.len();
                waiting.retain_mut(|peer| !has_answer(peer));
                turns.extend(std::iter::repeat_n(took, all - waiting.len()));
                waiting.is_empty()
            });
        }
        turns.sort_unstable();
        turns[turns.len() * 99 / 100]
    }

    fn has_answer(peer: &mut TcpStream) -> bool {
        let mut answer = [0; 13];
        match peer.read(&mut answer) {
            Ok(count) => count == answer.len() && answer[4..] == *b"a request",
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                false
            }
        }
    }

    #[test]
    fn who_sends_at_full_speed_does_not_keep_a_hundred_others_from_their_answers() {
        // The answers may be late because of other load on this machine, but not three
        // times in a row.
        let alone = Alone::begin();
        let mut measured = Vec::new();
        for _ in 0..3 {
            let mut attacked = Attacked::new(Config::default(), echo);
            let mut peers: Vec<TcpStream> = (0..OTHERS)
                .map(|number| connect_from(loopback(number as u64), attacked.addr))
                .collect();
            for peer in &peers {
                peer.set_nonblocking(true).expect("a socket");
            }
            attacked.until("the others are in", |node| {
                node.net().connection_count() == OTHERS + 1
            });
            let quiet = turns_to_answer(&mut attacked, &mut peers);
            let flooder = flood(attacked.addr);
            attacked.until("the flood is there", |node| {
                node.net().metrics().read_budget_hits > 0 || node.handler().messages > 20_000
            });
            let before = attacked.node.handler().messages;
            let flooded = turns_to_answer(&mut attacked, &mut peers);
            let messages = attacked.node.handler().messages - before;
            let was_flooded = messages > 2 * (OTHERS * ROUNDS) as u64;
            flooder
                .shutdown(std::net::Shutdown::Both)
                .expect("a socket");
            drop((flooder, peers));
            attacked.end(OTHERS as u64);
            alone.assert_below(16 * MIB);
            measured.push((quiet, flooded, messages));
            if was_flooded && flooded <= 5 * quiet {
                println!(
                    "turns until the answer, quiet and flooded, and messages then: {measured:?}"
                );
                return;
            }
        }
        panic!("turns until the answer, quiet and flooded, and messages then: {measured:?}");
    }
}

mod turnover {
    use super::*;

    /// Connects and disconnects in every way there is, and counts.
    fn connect_and_disconnect(addr: SocketAddr, end: Instant, seed: u64) -> u64 {
        let mut random = Random::new(seed);
        let mut count = 0;
        while Instant::now() < end {
            let mut peer = connect_from(loopback(random.next_u64() >> 10), addr);
            count += 1;
            let opening: &[u8] = match random.next_u64() % 4 {
                0 => b"",
                1 => &[0],
                2 => &[0, 0, 0, 9, 1],
                _ => &[0, 0, 0, 1, 5, 0, 0],
            };
            peer.write_all(opening).expect("room for some bytes");
            if random.next_u64() % 8 != 0 {
                // Most are reset, because otherwise they would soon fill the tables
                // of the system.
                let now = Some(Duration::ZERO);
                SockRef::from(&peer).set_linger(now).expect("a socket");
            }
        }
        count
    }

    #[test]
    fn who_connects_and_disconnects_without_end_leaves_nothing_behind() {
        let time = settings::seconds(5);
        let alone = Alone::begin();
        let mut attacked = Attacked::new(Config::default(), echo);
        attacked.honest_goes_on();
        let (before, held) = (heap(), descriptors());
        let (addr, end) = (attacked.addr, Instant::now() + time);
        let (report, reported) = std::sync::mpsc::channel();
        attacked.during_at_most(time + PATIENCE, move || {
            let count = connect_and_disconnect(addr, end, 11);
            report.send(count).expect("the test waits");
        });
        let count = reported.recv().expect("the attacker has counted");
        attacked.until("all have come and gone", |node| {
            node.net().metrics().disconnected == count
        });
        println!("{count} connections in {time:?}");
        assert_eq!(descriptors(), held);
        assert!(
            heap() < before + 512 * KIB,
            "{} bytes are left behind",
            heap() - before
        );
        attacked.end(count);
        alone.assert_below(4 * MIB);
    }
}

mod starvation {
    use std::io::{BufRead, BufReader, Lines};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use super::*;

    const TEST: &str = "starvation::who_waits_while_there_is_no_descriptor_gets_a_clean_no";
    const CHILD: &str = "PEERLOOP_STARVING";
    const STARVES_AT: &str = "starves at ";
    const FED: &str = "has descriptors again";
    const DESCRIPTORS: usize = 40;
    const TURNED_AWAY: u64 = 30;
    const LET_IN: u64 = 10;

    /// The same test in another process that has few file descriptors, and its output.
    struct Starving {
        child: Child,
        lines: Lines<BufReader<ChildStdout>>,
    }

    impl Starving {
        fn begin() -> Self {
            let limited = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"");
            let mut child = Command::new("sh")
                .args(["-c", &limited])
                .arg(std::env::current_exe().expect("a path"))
                .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
                .env(CHILD, "1")
                .stdout(Stdio::piped())
                .spawn()
                .expect("a process");
            let output = child.stdout.take().expect("it is piped");
            let lines = BufReader::new(output).lines();
            Self { child, lines }
        }

        /// Waits until it prints this; the rest of the line.
        fn expect(&mut self, what: &str) -> String {
            let mut said = self.lines.by_ref().map(|line| line.expect("text"));
            said.find_map(|line| Some(line.split_once(what)?.1.to_owned()))
                .expect("it says so")
        }

        fn end(&mut self) {
            self.lines.by_ref().for_each(drop);
            let status = self.child.wait().expect("it ends");
            assert!(status.success(), "it has found something wrong");
        }
    }

    impl Drop for Starving {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// The child process.
    fn starve() {
        let alone = Alone::begin();
        let config = Config {
            accept_backoff: Duration::from_millis(5),
            ..Config::default()
        };
        let mut attacked = Attacked::new(config, echo);
        let open = || std::fs::File::open("/dev/null").ok();
        let ballast: Vec<std::fs::File> = std::iter::from_fn(open).collect();
        println!("{STARVES_AT}{}", attacked.addr);
        attacked.until("all have been refused", |node| {
            node.net().metrics().shed_connections == TURNED_AWAY
        });
        attacked.honest_goes_on();
        let metrics = attacked.node.net().metrics();
        assert_eq!(metrics.accepted, 1);
        assert!(metrics.accept_backoffs > 0);
        assert!(metrics.accept_errors <= metrics.accept_backoffs);
        drop(ballast);
        println!("{FED}");
        attacked.until("the later ones are let in", |node| {
            node.net().metrics().accepted == 1 + LET_IN
        });
        attacked.end(TURNED_AWAY + LET_IN);
        alone.assert_below(2 * MIB);
    }

    #[test]
    fn who_waits_while_there_is_no_descriptor_gets_a_clean_no() {
        if std::env::var_os(CHILD).is_some() {
            return starve();
        }
        let _alone = Alone::begin();
        let mut starving = Starving::begin();
        let addr = starving.expect(STARVES_AT).parse().expect("an address");
        let away: Vec<TcpStream> = (0..TURNED_AWAY)
            .map(|number| connect_from(loopback(number), addr))
            .collect();
        for mut peer in away {
            let end = peer.read(&mut [0; 8]).expect("an end and no reset");
            assert_eq!(end, 0);
        }
        starving.expect(FED);
        for number in 0..LET_IN {
            exchange(&mut connect_from(loopback(number), addr), number);
        }
        starving.end();
    }
}
