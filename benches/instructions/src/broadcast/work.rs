//! The sends that are counted: from one node to the sockets of this program.

use std::error::Error;
use std::hint::black_box;
use std::io::{ErrorKind, IoSlice, Read};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use peerloop::config::{ConnectionConfig, Limits, SocketConfig, Timeouts, TurnBudget};
use peerloop::{Body, Bytes, Config, ConnId, Handler, Net, Node};

/// Numbers of connections. The table of the largest one exceeds the first level
/// of the cache.
pub(super) const CONNECTIONS: [usize; 3] = [1, 10, CONNECTIONS_MAX];
pub(super) const CONNECTIONS_MAX: usize = 200;

/// The largest number of connections is not sent the longest message, because
/// the copies of single sends would take most of the time.
const SIZES: [usize; 5] = [16, 256, 4 * 1024, 16 * 1024, 64 * 1024];

/// Rounds of each case. The last one counts, because the pool has its blocks
/// then.
pub(super) const ROUNDS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    Send,
    Broadcast,
    BroadcastAll,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Slice,
    Parts,
    Owned,
}

/// The content of the queues before the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Queues {
    Empty,
    /// One message of 16 bytes.
    Filled,
}

#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) call: Call,
    pub(super) kind: Kind,
    pub(super) size: usize,
    pub(super) queues: Queues,
}

impl Case {
    /// Returns all cases. Single sends come before the calls that they are
    /// compared with.
    pub(super) fn all(connections: usize) -> impl Iterator<Item = Self> {
        let sizes = SIZES.len() - usize::from(connections == CONNECTIONS_MAX);
        let sizes = &SIZES[..sizes];
        let queues = [Queues::Empty, Queues::Filled].into_iter();
        let kinds = [Kind::Slice, Kind::Parts, Kind::Owned];
        let calls = [Call::Send, Call::Broadcast, Call::BroadcastAll];
        let kinds = queues.flat_map(move |queues| kinds.map(|kind| (queues, kind)));
        let sizes = kinds
            .flat_map(move |(queues, kind)| sizes.iter().map(move |size| (queues, kind, *size)));
        sizes.flat_map(move |(queues, kind, size)| {
            calls.map(|call| Self {
                call,
                kind,
                size,
                queues,
            })
        })
    }
}

struct Idle;

impl Handler for Idle {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// A body in each form.
struct Bodies<'a> {
    parts: [IoSlice<'a>; 2],
    owned: Bytes,
}

/// Runs all cases on this many connections.
pub(crate) fn run(connections: usize) -> Result<(), Box<dyn Error>> {
    let mut node = Node::new(config(), Idle)?;
    let mut peers = connect(&mut node, connections)?;
    let conns: Vec<ConnId> = node.net().connections().map(|conn| conn.id()).collect();
    for case in Case::all(connections) {
        let owned = Bytes::from(vec![b'x'; case.size]);
        let bytes = owned.clone();
        let (start, rest) = bytes.split_at(4);
        let bodies = Bodies {
            parts: [IoSlice::new(start), IoSlice::new(rest)],
            owned,
        };
        for _ in 0..ROUNDS {
            round(&mut node, &conns, &mut peers, case, &bodies)?;
        }
    }
    Ok(())
}

fn round(
    node: &mut Node<Idle>,
    conns: &[ConnId],
    peers: &mut [TcpStream],
    case: Case,
    bodies: &Bodies<'_>,
) -> Result<(), Box<dyn Error>> {
    let mut expected = 4 + case.size;
    if case.queues == Queues::Filled {
        expected += 4 + 16;
        for conn in conns {
            node.net().send(*conn, &[b'y'; 16])?;
        }
    }
    let queued = counted_calls(node.net(), conns, case, bodies);
    end_phase();
    if queued != conns.len() {
        return Err(format!("queued on {queued} of {}", conns.len()).into());
    }
    counted_turn(node)?;
    end_phase();
    let mut buffer = vec![0; 64 * 1024];
    let mut left = vec![expected; peers.len()];
    while left.iter().any(|left| *left > 0) {
        for (peer, left) in peers.iter_mut().zip(&mut left) {
            *left -= read(peer, &mut buffer)?;
        }
        let _ = node.turn(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// Callgrind writes its counts before this.
#[inline(never)]
fn end_phase() {
    black_box(());
}

/// Returns on how many connections the message was queued.
#[inline(never)]
fn counted_calls(net: &mut Net, conns: &[ConnId], case: Case, bodies: &Bodies<'_>) -> usize {
    match case.kind {
        Kind::Slice => call(net, conns, case.call, || &bodies.owned[..]),
        Kind::Parts => call(net, conns, case.call, || Body::parts(&bodies.parts)),
        Kind::Owned => call(net, conns, case.call, || bodies.owned.clone()),
    }
}

#[inline(always)]
fn call<'a, B: Into<Body<'a>>>(
    net: &mut Net,
    conns: &[ConnId],
    call: Call,
    body: impl Fn() -> B,
) -> usize {
    match call {
        Call::Send => {
            let (mut queued, mut refused) = (0, 0);
            for conn in conns {
                match net.send(*conn, body()) {
                    Ok(()) => queued += 1,
                    Err(_) => refused += 1,
                }
            }
            black_box(refused);
            queued
        }
        Call::Broadcast => net.broadcast(conns.iter().copied(), body()).queued,
        Call::BroadcastAll => net.broadcast_all(body(), None).queued,
    }
}

#[inline(never)]
fn counted_turn(node: &mut Node<Idle>) -> Result<(), Box<dyn Error>> {
    let _ = node.turn(Some(Duration::ZERO))?;
    Ok(())
}

/// Sockets that take the longest message at once, and budgets that do not end
/// under valgrind, where a turn is about fifty times slower.
fn config() -> Config {
    Config {
        limits: Limits {
            max_connections_per_address: 10_000,
            max_outbound_connecting: 10_000,
            ..Limits::default()
        },
        budget: TurnBudget {
            max_visit_time: Duration::from_secs(60),
            max_turn_time: Duration::from_secs(600),
            ..TurnBudget::default()
        },
        sockets: SocketConfig {
            send_buffer_bytes: Some(256 * 1024),
            ..SocketConfig::default()
        },
        connection: ConnectionConfig {
            timeouts: Timeouts {
                write_stall: None,
                ..Timeouts::default()
            },
            ..ConnectionConfig::default()
        },
        allow_duplicates: true,
        ..Config::default()
    }
}

fn connect(node: &mut Node<Idle>, connections: usize) -> Result<Vec<TcpStream>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let mut peers = Vec::new();
    for count in 1..=connections {
        node.net().connect(addr)?;
        while node.net().connection_count() < count {
            let _ = node.turn(Some(Duration::from_millis(100)))?;
        }
        let (peer, _) = listener.accept()?;
        peer.set_nonblocking(true)?;
        peers.push(peer);
    }
    Ok(peers)
}

/// Reads what has arrived. Returns its length.
fn read(peer: &mut TcpStream, buffer: &mut [u8]) -> Result<usize, Box<dyn Error>> {
    match peer.read(buffer) {
        Ok(0) => Err("the node closed the connection".into()),
        Ok(len) => Ok(len),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error.into()),
    }
}
