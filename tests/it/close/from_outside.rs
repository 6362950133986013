//! A connection that is ended outside its callbacks receives no message after
//! that.

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::util::raw::{join, until_ended, wire};
use crate::util::{Event, Recorder, frame};
use peerloop::{Config, ConnId, Net};

const ENDINGS: [fn(&mut Net, ConnId); 2] = [Net::close, Net::abort];

#[test]
fn end_in_callback_of_another_stops_messages() {
    for end in ENDINGS {
        let ended = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&ended);
        let handler = Recorder::reacting(move |net, event| {
            let mut ended = shared.lock().unwrap();
            let Event::Message(conn, _) = event else {
                return;
            };
            assert_ne!(*ended, Some(*conn), "a message after the end");
            let other = net.connections().find(|other| other.id() != *conn);
            if let (Some(other), None) = (other.map(|other| other.id()), *ended) {
                end(net, other);
                *ended = Some(other);
            }
        });
        let (mut node, first, mut first_peer) = wire(Config::default(), handler);
        let addr = node.net().listeners().next().expect("a listener").addr;
        let (second, mut second_peer) = join(&mut node, addr);
        // Both are readable in the same turn.
        first_peer.write_all(&frame(b"x").repeat(100)).unwrap();
        second_peer.write_all(&frame(b"x").repeat(100)).unwrap();
        drop((first_peer, second_peer));
        for conn in [first, second] {
            until_ended(&mut node, conn);
        }
        assert!(ended.lock().unwrap().is_some());
        assert_eq!(node.net().metrics().panics, 0);
    }
}

#[test]
fn end_between_turns_stops_messages() {
    for end in ENDINGS {
        let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
        peer.write_all(&frame(b"x").repeat(100)).unwrap();
        end(node.net(), conn);
        drop(peer);
        until_ended(&mut node, conn);
        assert_eq!(node.handler().messages(conn).len(), 0);
    }
}
