//! Events of several kinds of sources.

use std::io::Write;

use peerloop::mio::{self, Interest};

use super::{Sources, drain, node, receive, register, run_until, udp};

#[test]
fn udp_socket_is_reported_for_each_datagram() {
    let mut node = node(receive);
    let (source, peer) = udp();
    let id = register(&mut node, source);
    for number in 1..=20 {
        peer.send(&[number]).unwrap();
        run_until(&mut node, |sources| sources.read.last() == Some(&number));
    }
    let ready = &node.handler().ready;
    assert!(ready.iter().all(|(source, _)| *source == id));
    assert!(ready[0].1.is_readable());
    assert!(!ready[0].1.is_error());
}

#[test]
fn source_ready_at_registration_is_reported() {
    let mut node = node(receive);
    let (source, peer) = udp();
    peer.send(b"early").unwrap();
    register(&mut node, source);
    run_until(&mut node, |sources| sources.read == b"early");
}

#[test]
fn writable_interest_is_reported() {
    let mut node = node::<mio::net::UdpSocket>(|_, _, _| {});
    let (mut source, _peer) = udp();
    let interest = Interest::WRITABLE;
    let id = node.net().register(&mut source, interest).unwrap();
    run_until(&mut node, |sources| {
        let ready = sources.ready.first();
        ready.is_some_and(|(source, ready)| *source == id && ready.is_writable())
    });
}

#[test]
fn reregister_changes_the_interest() {
    let mut node = node::<mio::net::UdpSocket>(|_, _, _| {});
    let (source, _peer) = udp();
    let id = register(&mut node, source);
    super::run_for(&mut node, std::time::Duration::from_millis(5));
    assert_eq!(node.handler().count(id), 0);
    node.with(|sources, net| {
        let interest = Interest::READABLE | Interest::WRITABLE;
        net.reregister(id, sources.source(id), interest).unwrap();
    });
    run_until(&mut node, |sources| sources.count(id) == 1);
    assert!(node.handler().ready[0].1.is_writable());
}

/// Reads at most 100 bytes.
#[cfg(unix)]
fn read_little(
    sources: &mut Sources<mio::unix::pipe::Receiver>,
    net: &mut peerloop::Net,
    id: peerloop::SourceId,
) {
    use std::io::{ErrorKind, Read};
    let mut buffer = [0; 100];
    match sources.source(id).read(&mut buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return,
        Ok(count) if count > 0 => sources.read.extend_from_slice(&buffer[..count]),
        _ => sources.has_ended = true,
    }
    let source = sources.source(id);
    net.reregister(id, source, Interest::READABLE).unwrap();
}

/// The writer is closed, which with poll(2) ends the registration.
#[cfg(unix)]
#[test]
fn reregister_reports_the_rest() {
    let mut node = node(read_little);
    let (mut sender, receiver) = mio::unix::pipe::new().unwrap();
    let id = register(&mut node, receiver);
    sender.write_all(&[7; 5000]).unwrap();
    drop(sender);
    run_until(&mut node, |sources| sources.has_ended);
    let sources = node.handler();
    assert_eq!(sources.read, [7; 5000]);
    assert!(sources.count(id) >= 50, "each time a part");
    assert!(sources.turns >= 50, "once per turn");
    node.with(|sources, net| net.deregister(id, sources.source(id)).unwrap());
}

#[cfg(unix)]
#[test]
fn output_of_a_child_is_read_to_its_end() {
    use std::process::{Command, Stdio};

    let script = "for i in 1 2 3; do echo line $i; sleep 0.01; done";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = mio::unix::pipe::Receiver::from(child.stdout.take().unwrap());
    output.set_nonblocking(true).unwrap();
    let mut node = node(drain);
    let id = register(&mut node, output);
    run_until(&mut node, |sources| sources.has_ended);
    assert_eq!(node.handler().read, b"line 1\nline 2\nline 3\n");
    let (_, last) = node.handler().ready.last().unwrap();
    assert!(last.is_read_closed());
    // With poll(2) the hangup has ended the registration.
    node.with(|sources, net| net.deregister(id, sources.source(id)).unwrap());
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn unix_stream_is_reported_both_ways() {
    use std::io::Read;
    let (source, mut peer) = mio::net::UnixStream::pair().unwrap();
    let mut node = node(drain);
    let id = register(&mut node, source);
    for number in 1..=20 {
        peer.write_all(&[number; 3000]).unwrap();
        run_until(&mut node, |sources| sources.read.len() == 3000);
        let sources = node.handler_mut();
        let answer = std::mem::take(&mut sources.read);
        assert_eq!(sources.source(id).write(&answer).unwrap(), 3000);
        peer.read_exact(&mut [0; 3000]).unwrap();
    }
    drop(peer);
    run_until(&mut node, |sources| sources.has_ended);
}
