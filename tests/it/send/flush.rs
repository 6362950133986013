//! `flush`.

use std::io::Write;
use std::sync::mpsc;

use crate::util::{Event, Recorder, config_with, frame, raw, run_until, unlimited_time};

#[test]
fn flush_writes_when_the_callback_returns() {
    let (sender, queued) = mpsc::channel();
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Message(conn, message) = event {
            let other = net.connections().find(|other| other.id() != *conn);
            let other = other.expect("there are two");
            sender.send(other.queued_bytes()).expect("the test waits");
            let other = other.id();
            net.send(other, b"x").expect("there is room");
            if message == b"at once" {
                net.flush(other);
            }
        }
    });
    let config = config_with(|config| config.budget = unlimited_time());
    let (mut node, from_conn, mut from) = raw::wire(config, handler);
    let addr = node.net().listeners().next().unwrap().addr;
    let (_, _to) = raw::join(&mut node, addr);
    // One read has all four messages, and one turn delivers them.
    let messages: [&[u8]; 4] = [b"at once", b"at once", b"later", b"later"];
    from.write_all(&messages.map(frame).concat()).unwrap();
    run_until([&mut node], |[node]| {
        node.handler().messages(from_conn).len() == 4
    });
    assert_eq!(queued.try_iter().collect::<Vec<_>>(), [0, 0, 0, 5]);
}
