//! File-descriptor exhaustion on the shard that accepts.

#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::*;
use crate::util::child::{self, test_path};

const LISTENS_ON: &str = "listens on ";

/// More than the descriptors are enough for, but fewer than twice as many.
const PEERS: usize = 28;

/// Runs in its own process and answers every message until it receives
/// "stop". The accept backoff is long, so that only the end of a connection
/// resumes accepting in time.
fn echo_until_stopped() {
    let config = Config {
        accept_backoff: Duration::from_secs(600),
        ..crowd_config(1000)
    };
    let echo = || {
        Recorder::reacting(|net, event| match event {
            Event::Message(_, body) if body == b"stop" => net.shutdown(Duration::ZERO),
            Event::Message(conn, body) => net.send(*conn, body).expect("the queue has room"),
            _ => {}
        })
    };
    let (shards, addr) = listening(config, in_turn(2), echo);
    println!("{LISTENS_ON}{addr}");
    let recorders = join(shards).unwrap();
    let accepted = recorders.iter().map(|recorder| recorder.connected().len());
    assert_eq!(accepted.sum::<usize>(), PEERS + 1);
}

/// Waiting connections are accepted when a connection of any shard ends.
#[test]
fn freed_descriptor_resumes_accepting() {
    if child::is_child() {
        return echo_until_stopped();
    }
    let test = test_path!(freed_descriptor_resumes_accepting);
    let mut child = child::command(test, Some(30))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(output)
        .lines()
        .map(|line| line.expect("text"));
    let addr = lines.find_map(|line| Some(line.split_once(LISTENS_ON)?.1.to_owned()));
    let addr: SocketAddr = addr.expect("it listens").parse().unwrap();
    // Read on, so that the child never waits for a reader.
    thread::spawn(move || lines.count());
    let peers = (0..PEERS).map(|_| connect(addr)).enumerate();
    // Those of the second shard go before anybody of the first, which accepts, does.
    let (second, first): (Vec<_>, Vec<_>) = peers.partition(|(number, _)| number % 2 == 1);
    for (_, mut peer) in second.into_iter().chain(first) {
        peer.write_all(&frame(b"?")).unwrap();
        assert_eq!(message(&mut peer), b"?");
    }
    connect(addr).write_all(&frame(b"stop")).unwrap();
    assert!(child.wait().unwrap().success());
}
