//! x
use peerloop::*;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Rec {
    log: Vec<String>,
    echo: bool,
}
impl Handler for Rec {
    fn on_start(&mut self, _: &mut Net) {
        self.log.push("start".into());
    }
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let side = net.peer(conn).unwrap().side();
        self.log.push(format!("connect {side:?}"));
    }
    fn on_message(&mut self, net: &mut Net, conn: ConnId, m: &[u8]) {
        self.log
            .push(format!("message {}", String::from_utf8_lossy(m)));
        if self.echo {
            net.send(conn, m).unwrap();
        }
    }
    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, r: DisconnectReason) {
        self.log.push(format!("disconnect {r:?}"));
    }
    fn on_connect_failed(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: std::net::SocketAddr,
        e: ConnectError,
    ) {
        self.log.push(format!("failed {e:?}"));
    }
}
fn until(
    a: &mut Node<Rec>,
    b: &mut Node<Rec>,
    mut done: impl FnMut(&mut Node<Rec>, &mut Node<Rec>) -> bool,
) {
    let end = Instant::now() + Duration::from_secs(5);
    while !done(a, b) {
        assert!(
            Instant::now() < end,
            "{:?} {:?}",
            a.handler().log,
            b.handler().log
        );
        let _ = a.turn(Some(Duration::from_millis(1))).unwrap();
        let _ = b.turn(Some(Duration::from_millis(1))).unwrap();
    }
}
#[test]
fn hello() {
    let mut a = Node::new(
        Config::default(),
        Rec {
            echo: true,
            ..Default::default()
        },
    )
    .unwrap();
    let mut b = Node::new(Config::default(), Rec::default()).unwrap();
    let addr = a.net().listen("127.0.0.1:0").unwrap();
    let conn = b.net().connect(addr).unwrap();
    until(&mut a, &mut b, |_, b| b.net().connection_count() == 1);
    b.net().send(conn, b"hi").unwrap();
    until(&mut a, &mut b, |_, b| {
        b.handler().log.contains(&"message hi".into())
    });
    b.net().close(conn);
    until(&mut a, &mut b, |a, b| {
        a.handler().log.len() == 4 && b.handler().log.len() == 4
    });
    println!("{:?} {:?}", a.handler().log, b.handler().log);
    println!("{:?}", a.net().stats());
}
