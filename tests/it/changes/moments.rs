//! The moments at which a framing can change: in each callback, between turns,
//! during a pause, from other connections.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::panic::resume_unwind;

use peerloop::framing::Framing;
use peerloop::{Config, ConnId, Net};

use crate::util::framings::body;
use crate::util::raw::{accepted, connect, feed, join, settle, wire};
use crate::util::sessions::{MAGIC, greeting, sealed};
use crate::util::{Event, Recorder, listening, node, pair, run_until, unlimited_time};

/// Two letters are two messages.
const LETTERS: Framing = Framing::Fixed(1);

fn set_letters(net: &mut Net, conn: ConnId) {
    net.set_framing(conn, LETTERS).unwrap();
}

/// Returns a handler that changes the framing when a connection opens.
fn changing_on_connect() -> Recorder {
    Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            set_letters(net, *conn);
            net.send(*conn, b"c").unwrap();
        }
    })
}

fn two_letters(peer: &mut impl Read) -> [u8; 2] {
    let mut letters = [0; 2];
    peer.read_exact(&mut letters).unwrap();
    letters
}

#[test]
fn framing_can_change_while_connecting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    for turns in 0..3 {
        let mut node = node(Config::default(), Recorder::default());
        let mut options = node.net().connect_options();
        options.allow_duplicate = true;
        let conn = node.net().connect_with(addr, options).unwrap();
        for _ in 0..turns {
            settle(&mut node);
        }
        set_letters(node.net(), conn);
        run_until([&mut node], |[node]| node.handler().connected() == [conn]);
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"ab").unwrap();
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"a", b"b"]
        });
        node.net().send(conn, b"c").unwrap();
        node.net().send(conn, b"d").unwrap();
        settle(&mut node);
        assert_eq!(two_letters(&mut peer), *b"cd");
    }
}

#[test]
fn framing_changes_in_transport_and_on_connect() {
    let in_transport = Recorder {
        sessions: Box::new(|net, conn| {
            set_letters(net, conn);
            Ok(None)
        }),
        ..Recorder::default()
    };
    for handler in [in_transport, changing_on_connect()] {
        let (mut node, addr) = listening(Config::default(), handler);
        let mut peer = connect(addr);
        peer.write_all(b"ab").unwrap();
        let conn = accepted(&mut node);
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"a", b"b"]
        });
    }
}

/// The peer's first messages arrive together with the end of the handshake.
#[test]
fn framing_can_change_at_the_end_of_a_handshake() {
    let (mut node, addr) = listening(Config::default(), greeting(changing_on_connect()));
    let mut peer = connect(addr);
    peer.write_all(&[&MAGIC[..], b"ab"].concat()).unwrap();
    let conn = accepted(&mut node);
    run_until([&mut node], |[node]| {
        node.handler().messages(conn) == [b"a", b"b"]
    });
    let mut answer = [0; 5];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [&MAGIC[..], b"c"].concat()[..]);
}

#[test]
fn framing_can_change_within_a_session() {
    let (mut a, there, mut b, here) = pair(
        Config::default(),
        sealed(changing_on_connect()),
        sealed(changing_on_connect()),
    );
    let sent: Vec<Vec<u8>> = (0..50).map(|seed| body(&LETTERS, 1, seed)).collect();
    for body in &sent {
        a.net().send(there, body).unwrap();
        b.net().send(here, body).unwrap();
    }
    run_until([&mut a, &mut b], |[a, b]| {
        let (to_a, to_b) = (a.handler().messages(there), b.handler().messages(here));
        to_a.len() > 50 && to_b.len() > 50
    });
    let expected = [&[b"c".to_vec()][..], &sent].concat();
    assert_eq!(a.handler().messages(there), expected);
    assert_eq!(b.handler().messages(here), expected);
}

#[test]
fn kept_batch_of_a_pause_has_the_new_framing() {
    let pausing = Recorder::reacting(|net, event| {
        if let Event::Message(conn, message) = event {
            if message == b"pause" {
                net.pause(*conn);
            }
        }
    });
    let (mut node, conn, mut peer) = wire(Config::default(), pausing);
    feed(&mut node, &mut peer, b"\0\0\0\x05pause\0\0\0\x01x");
    set_letters(node.net(), conn);
    settle(&mut node);
    assert_eq!(node.handler().messages(conn), [b"pause"]);
    node.net().resume(conn);
    run_until([&mut node], |[node]| {
        node.handler().messages(conn)[1..] == [b"\0", b"\0", b"\0", b"\x01", b"x"]
    });
}

#[test]
fn framing_changes_twice_before_the_next_message() {
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    let handler = Recorder::reacting(|net, event| {
        if let Event::Message(conn, _) = event {
            set_letters(net, *conn);
            net.pause(*conn);
            net.set_framing(*conn, Framing::Fixed(2)).unwrap();
            net.resume(*conn);
            net.set_max_message_len(*conn, 2).unwrap();
        }
    });
    *node.handler_mut() = handler;
    feed(&mut node, &mut peer, b"\0\0\0\x01xabcd");
    assert_eq!(node.handler().messages(conn), [&b"x"[..], b"ab", b"cd"]);
}

/// The connection that is visited first changes the framing of the other one,
/// which has a message to read in the same turn.
#[test]
fn change_precedes_the_next_message_of_another() {
    for panics in [false, true] {
        let mut changed = false;
        let handler = Recorder::reacting(move |net, event| {
            let Event::Message(conn, _) = event else {
                return;
            };
            if std::mem::replace(&mut changed, true) {
                return;
            }
            let mut others = net.connections().map(|other| other.id());
            let other = others.find(|other| other != conn).unwrap();
            set_letters(net, other);
            if panics {
                resume_unwind(Box::new("on purpose"));
            }
        });
        let config = Config {
            budget: unlimited_time(),
            ..Config::default()
        };
        let (mut node, addr) = listening(config, handler);
        let mut peers = [(); 2].map(|()| join(&mut node, addr));
        for (_, peer) in &mut peers {
            peer.write_all(b"\0\0\0\x01x").unwrap();
        }
        let ids = [peers[0].0, peers[1].0];
        run_until([&mut node], |[node]| {
            ids.iter()
                .map(|id| node.handler().messages(*id).len())
                .sum::<usize>()
                == 6
        });
        let mut counts = ids.map(|id| node.handler().messages(id).len());
        counts.sort_unstable();
        assert_eq!(counts, [1, 5]);
        assert_eq!(node.net().metrics().panics, u64::from(panics));
    }
}
