//! Calls for a connection of another shard.

use peerloop::config::{OnExcess, Rate, RateLimits};
use peerloop::session::Stage;

use super::*;
use crate::util::waits::Waits;

const SIZES: [usize; 4] = [0, 1, 1000, 100_000];

#[test]
fn send_reaches_connections_of_all_shards() {
    let (shards, addr) = listening(crowd_config(1000), in_turn(3), Recorder::default);
    let handle = shards.handle();
    let (mut peers, names) = one_each(&shards, addr);
    for from in handle.shards() {
        for (peer, conn) in peers.iter_mut().zip(&names) {
            for size in SIZES {
                let (conn, body) = (*conn, vec![from.index() as u8; size]);
                let copy = body.clone();
                let send = move |_: &mut Recorder, net: &mut Net| {
                    net.send(conn, &copy)?;
                    net.send(conn, copy.clone())?;
                    let (a, b) = copy.split_at(copy.len() / 3);
                    let parts = [io::IoSlice::new(a), io::IoSlice::new(b)];
                    net.send(conn, Body::parts(&parts))
                };
                handle.ask(from, send).unwrap().unwrap();
                handle.send(conn, body.clone()).unwrap();
                let other = handle.shard(from).unwrap();
                other.send(conn, body.clone()).unwrap();
                for _ in 0..5 {
                    assert_eq!(message(peer), body);
                }
            }
        }
    }
    assert_eq!(handle.metrics().unwrap().commands_lost, 0);
    stop(shards);
}

#[test]
fn calls_of_one_shard_keep_their_order() {
    let (shards, addr) = listening(crowd_config(1000), in_turn(2), Recorder::default);
    let handle = shards.handle();
    let (mut peers, names) = one_each(&shards, addr);
    let conn = names[1];
    let all = move |_: &mut Recorder, net: &mut Net| {
        for number in 0..100u32 {
            match number % 3 {
                0 => net.send(conn, &number.to_be_bytes()).unwrap(),
                1 => assert_eq!(net.broadcast([conn], &number.to_be_bytes()).queued, 1),
                _ => net.flush(conn),
            }
        }
        net.close(conn);
        net.close(conn);
    };
    handle.ask(shard(0), all).unwrap();
    for number in (0..100u32).filter(|number| number % 3 != 2) {
        assert_eq!(message(&mut peers[1]), number.to_be_bytes());
    }
    ends(&mut peers[1]);
    peers.remove(1);
    let ended = move |recorder: &mut Recorder, _: &mut Net| recorder.ended(conn);
    eventually(|| handle.ask(shard(1), ended).unwrap() == Some(DisconnectReason::Local));
    stop(shards);
}

#[test]
fn control_calls_work_from_another_shard() {
    let (shards, addr) = listening(crowd_config(1000), in_turn(2), Recorder::default);
    let handle = shards.handle();
    let (mut peers, names) = one_each(&shards, addr);
    let conn = names[1];
    let received = move |recorder: &mut Recorder, _: &mut Net| recorder.messages(conn).len();
    let here = shard(0);
    handle.ask(here, move |_, net| net.pause(conn)).unwrap();
    handle.ask(shard(1), |_, _| ()).unwrap();
    peers[1].write_all(&frame(b"one")).unwrap();
    // A message on another connection of the shard was sent later. When it is
    // delivered, this message would be too.
    let (mut others, there) = one_each(&shards, addr);
    others[1].write_all(&frame(b"another")).unwrap();
    let another = there[1];
    let is_received =
        move |recorder: &mut Recorder, _: &mut Net| recorder.messages(another).len() == 1;
    eventually(|| handle.ask(shard(1), is_received).unwrap());
    assert_eq!(handle.ask(shard(1), received).unwrap(), 0);
    handle.ask(here, move |_, net| net.resume(conn)).unwrap();
    eventually(|| handle.ask(shard(1), received).unwrap() == 1);
    handle
        .ask(here, move |_, net| net.close_write(conn))
        .unwrap();
    ends(&mut peers[1]);
    peers[1].write_all(&frame(b"two")).unwrap();
    eventually(|| handle.ask(shard(1), received).unwrap() == 2);
    handle.ask(here, move |_, net| net.abort(conn)).unwrap();
    let ended = move |recorder: &mut Recorder, _: &mut Net| recorder.ended(conn);
    eventually(|| handle.ask(shard(1), ended).unwrap() == Some(DisconnectReason::Local));
    stop(shards);
}

#[test]
fn wake_reaches_a_session_of_another_shard() {
    let session = Waits::with(Stage::Handshaking, |state| {
        state.next_stage = Some(Stage::Transparent);
    });
    let make = || {
        let session = session.clone();
        with_sessions(Recorder::default(), move |_| session.clone())
    };
    let (shards, addr) = listening(crowd_config(1000), in_turn(2), make);
    let _peers = [connect(addr), connect(addr)];
    let handle = shards.handle();
    let find = |_: &mut Recorder, net: &mut Net| net.connecting().next().map(|c| c.id());
    let conn = eventually_some(|| handle.ask(shard(1), find).unwrap());
    handle
        .ask(shard(0), move |_, net| net.wake_session(conn))
        .unwrap();
    let connected = move |recorder: &mut Recorder, _: &mut Net| recorder.connected();
    eventually(|| handle.ask(shard(1), connected).unwrap() == [conn]);
    stop(shards);
}

#[test]
fn settings_change_from_another_shard() {
    const LIMITS: RateLimits = RateLimits {
        receive_messages: Some(Rate {
            per_second: 1000,
            burst: 1000,
        }),
        receive_bytes: None,
        send_bytes: None,
        send_messages: None,
        on_excess: OnExcess::SlowDown,
    };
    let (shards, addr) = listening(crowd_config(1000), in_turn(2), Recorder::default);
    let handle = shards.handle();
    let (mut peers, names) = one_each(&shards, addr);
    let conn = names[1];
    let here = shard(0);
    let change = move |_: &mut Recorder, net: &mut Net| {
        // The other shard refuses it, and goes on with the next command.
        assert_eq!(net.set_framing(conn, Framing::Fixed(0)), Ok(()));
        assert_eq!(net.set_framing(conn, Framing::Fixed(2)), Ok(()));
        assert_eq!(net.set_max_message_len(conn, 1000), Ok(()));
        let timeouts = Timeouts {
            idle: Some(Duration::from_secs(1234)),
            ..Timeouts::default()
        };
        assert_eq!(net.set_timeouts(conn, timeouts), Ok(()));
        assert_eq!(net.set_rate(conn, LIMITS), Ok(()));
        net.send(conn, b"ab")
    };
    handle.ask(here, change).unwrap().unwrap();
    let mut answer = [0; 2];
    peers[1].read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"ab");
    peers[1].write_all(b"cdef").unwrap();
    let received = move |recorder: &mut Recorder, net: &mut Net| {
        let config = net.connection(conn).expect("it is open").config();
        assert_eq!(config.max_message_len, 1000);
        assert_eq!(config.timeouts.idle, Some(Duration::from_secs(1234)));
        assert_eq!(config.rate, LIMITS);
        recorder.messages(conn) == [b"cd", b"ef"]
    };
    eventually(|| handle.ask(shard(1), received).unwrap());
    stop(shards);
}

#[test]
fn state_is_known_to_its_own_shard_only() {
    let (shards, addr) = listening(crowd_config(1000), in_turn(2), Recorder::default);
    let handle = shards.handle();
    let (_peers, names) = one_each(&shards, addr);
    let conn = names[1];
    let look = move |_: &mut Recorder, net: &mut Net| {
        let tracked = net.send_tracked(conn, b"x", 7);
        let known = net.connection(conn).is_some() || net.is_writable(conn);
        (known, tracked, net.shard(), net.shards().count())
    };
    let elsewhere = handle.ask(shard(0), look).unwrap();
    let refused = Err(SendError::Closed);
    assert_eq!(elsewhere, (false, refused, shard(0), 2));
    let (known, tracked, ..) = handle.ask(shard(1), look).unwrap();
    assert_eq!((known, tracked), (true, Ok(())));
    stop(shards);
}

/// Each connection receives each message once and in order, in its own framing.
#[test]
fn broadcast_arrives_once_and_in_order() {
    const SIZES: [usize; 3] = [1, 300, 20_000];
    let (shards, addr) = listening(crowd_config(1000), in_turn(3), Recorder::default);
    let handle = shards.handle();
    let with = |framing| {
        let mut options = handle.listen_options();
        options.connection_mut().framing = framing;
        options
    };
    let short = Framing::LengthDelimited(LengthPrefix::Two(ByteOrder::LittleEndian));
    let two = shards.listen_with("127.0.0.1:0", with(short)).unwrap().addr;
    let line = with(Framing::Delimited(b'\n'));
    let lines = shards.listen_with("127.0.0.1:0", line).unwrap().addr;
    // Three of each framing for each shard, which take turns.
    let addrs = [addr, two, lines];
    let mut peers: Vec<(usize, TcpStream)> = Vec::new();
    for round in 0..9 {
        for (kind, addr) in addrs.iter().enumerate().cycle().skip(round).take(3) {
            peers.push((kind, connect(*addr)));
            eventually(|| total(&handle) == peers.len());
        }
    }
    let all: Vec<ConnId> = connections(&handle)
        .into_iter()
        .map(|(_, conn)| conn)
        .collect();
    let targets = all.clone();
    let broadcast = move |_: &mut Recorder, net: &mut Net| {
        for number in 0..60u8 {
            let body = vec![b'a' + number % 26; SIZES[usize::from(number) % 3]];
            let outcome = net.broadcast(targets.iter().copied(), &body);
            assert_eq!(outcome.queued, targets.len());
        }
    };
    handle.ask(shard(1), broadcast).unwrap();
    let last = Bytes::from_static(b"the last message");
    assert_eq!(
        handle.broadcast(all.iter().copied(), last).queued,
        all.len()
    );
    for (kind, peer) in &mut peers {
        let bodies = (0..60u8).map(|n| vec![b'a' + n % 26; SIZES[usize::from(n) % 3]]);
        for body in bodies.chain([b"the last message".to_vec()]) {
            let len = body.len();
            let wire = match kind {
                0 => frame(&body),
                1 => [&(len as u16).to_le_bytes()[..], &body].concat(),
                _ => [&body[..], b"\n"].concat(),
            };
            let mut got = vec![0; wire.len()];
            peer.read_exact(&mut got).expect("it comes");
            assert!(got == wire, "another message, or another framing");
        }
    }
    assert_eq!(handle.metrics().unwrap().commands_lost, 0);
    stop(shards);
    for (_, peer) in &mut peers {
        ends(peer);
    }
}

#[test]
fn stale_id_is_a_no_op_on_every_shard() {
    let (shards, addr) = listening(crowd_config(1000), in_turn(2), Recorder::default);
    let handle = shards.handle();
    let (peers, stale) = one_each(&shards, addr);
    drop(peers);
    eventually(|| total(&handle) == 0);
    eventually(|| handle.metrics().unwrap().disconnected == 2);
    // In the same slots, on the same shards.
    let (mut peers, live) = one_each(&shards, addr);
    let slots = |names: &[ConnId]| -> HashSet<u32> {
        names.iter().map(|conn| conn.to_bits() as u32).collect()
    };
    assert_eq!(slots(&stale), slots(&live));
    let never = ConnId::from_bits(stale[0].to_bits() | 0xff << 24).unwrap();
    assert_eq!(never.shard(), shard(255));
    let reach = move |_: &mut Recorder, net: &mut Net| {
        for conn in stale.iter().copied() {
            let _ = net.send(conn, b"stale");
            let _ = net.broadcast([conn], b"stale");
            net.pause(conn);
            net.close(conn);
            net.abort(conn);
        }
        assert_eq!(net.send(never, b"never"), Err(SendError::Closed));
        assert_eq!(net.broadcast([never], b"never").closed, 1);
        net.close(never);
    };
    handle.ask_all(reach).unwrap();
    // The second of the two shards may have asked something of the first.
    handle.ask_all(|_, _| ()).unwrap();
    assert_eq!(handle.send(never, Bytes::new()), Err(SendError::Closed));
    for (peer, conn) in peers.iter_mut().zip(live) {
        handle.send(conn, Bytes::from_static(b"live")).unwrap();
        assert_eq!(message(peer), b"live");
    }
    let lost = handle.metrics().unwrap().commands_lost;
    assert_eq!(lost, 4, "what came from the other shard");
    stop(shards);
}
