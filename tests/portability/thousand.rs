//! A thousand connections to another process.

use super::*;

/// How many sockets this process may open; not more than asked for.
pub(crate) fn sockets(wanted: usize) -> usize {
    // Windows has no limit that matters.
    if cfg!(windows) {
        return wanted;
    }
    let open = || UdpSocket::bind("127.0.0.1:0").ok();
    // Descriptors that the node and the child need besides.
    let spare = 20;
    let all: Vec<UdpSocket> = std::iter::from_fn(open).take(wanted + spare).collect();
    all.len().saturating_sub(spare)
}

/// A thousand connections at once to another process, so that each process has
/// the sockets of one side.
pub(crate) fn thousand() {
    const LOOKS: u64 = 200;
    let count = sockets(1000);
    let (report, reports) = mpsc::channel();
    let mut members = Vec::new();
    let mut turns_before = 0;
    let server = start(move |net, event| match event {
        Event::Message(conn, message) => {
            net.send(conn, message).expect("room");
            members.push(conn);
            if members.len() == count {
                net.set_timer(Duration::from_millis(100), 0);
            }
        }
        // All are idle now: no turn is due.
        Event::Timer(0) => {
            turns_before = turns(net);
            net.set_timer(Duration::from_millis(100), 1);
        }
        Event::Timer(_) => {
            let taken = turns(net) - turns_before;
            assert!(taken < LOOKS, "{taken} turns with idle connections");
            for conn in &members {
                net.send(*conn, b"enough").expect("room");
            }
        }
        Event::Ended(_, reason) => report.send(reason).expect("the check waits"),
        _ => {}
    });
    let order = format!("{} {count}", server.listen());
    let program = env::current_exe().expect("a path");
    let mut child = Command::new(program)
        .env(CHILD, order)
        .spawn()
        .expect("a child process");
    for _ in 0..count {
        within(&reports, "the end of a connection");
    }
    let (exit, exits) = mpsc::channel();
    thread::spawn(move || exit.send(child.wait()));
    let status = within(&exits, "the end of the child").expect("a status");
    assert!(status.success(), "the child: {status}");
    println!("portability: {count} connections at once");
    server.stop();
}

pub(crate) fn child(order: &str) {
    let (addr, count) = order.split_once(' ').expect("two words");
    let addr: SocketAddr = addr.parse().expect("an address");
    let count: u32 = count.parse().expect("a number");
    let (done, dones) = mpsc::channel();
    let mut next = 0;
    let client = start(move |net, event| match event {
        Event::Connected(conn) => {
            net.send(conn, body(next, 50)).expect("room");
            next += 1;
        }
        Event::Message(_, b"enough") => done.send(()).expect("the check waits"),
        Event::Message(_, message) => assert_eq!(message.len(), 50),
        Event::Failed(kind) => panic!("an attempt failed: {kind}"),
        _ => {}
    });
    client.ask(move |net| {
        for _ in 0..count {
            net.connect(addr).expect("an attempt");
        }
    });
    for _ in 0..count {
        within(&dones, "the last message of a connection");
    }
    client.stop();
}
