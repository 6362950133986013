//! `OnPanic::Unwind`.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::panic::{self, AssertUnwindSafe};

use peerloop::config::OnPanic;
use peerloop::{Config, ConnId};

use super::{ON_PURPOSE, Selects, config, is_closed, panicking};
use crate::util::raw::join;
use crate::util::{Event, TestNode, frame, run_until};

type Provoke = fn(&mut TestNode, ConnId, &mut TcpStream);

#[test]
fn panic_leaves_the_turn_with_its_payload() {
    let cases: [(Selects, Provoke); 4] = [
        (
            |event| matches!(event, Event::Message(..)),
            |_, _, peer| peer.write_all(&frame(b"x")).unwrap(),
        ),
        (
            |event| matches!(event, Event::Timer(..)),
            |node, _, _| {
                let _ = node.net().set_timer(std::time::Duration::ZERO, 0);
            },
        ),
        (
            |event| matches!(event, Event::Disconnect(..)),
            |node, conn, _| node.net().abort(conn),
        ),
        (
            |event| matches!(event, Event::ConnectFailed(..)),
            |node, _, _| {
                let conn = node.net().connect(SocketAddr::from(([127, 0, 0, 1], 1)));
                node.net().close(conn.unwrap());
            },
        ),
    ];
    for (case, (selects, provoke)) in cases.into_iter().enumerate() {
        let config = Config {
            on_panic: OnPanic::Unwind,
            ..config()
        };
        let (mut node, addr, trigger) = panicking(config);
        let (conn, mut peer) = join(&mut node, addr);
        trigger.arm(selects);
        provoke(&mut node, conn, &mut peer);
        let run = || run_until([&mut node], |_| false);
        let payload = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&ON_PURPOSE), "case {case}");
        drop(node);
        assert!(is_closed(&mut peer));
    }
}
