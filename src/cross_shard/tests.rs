use super::*;
use crate::config::Config;

/// A mailbox without a loop behind it.
#[derive(Default)]
struct TestMailbox {
    room: AtomicUsize,
    /// The connections of the passed commands, in their order.
    passed: Mutex<Vec<ConnId>>,
    descriptors: AtomicUsize,
}

impl Mailbox for Arc<TestMailbox> {
    fn pass(&self, command: ShardCommand) -> Result<(), RefusedCommand<ShardCommand>> {
        let room = self.room.load(Ordering::Relaxed);
        let (Some(left), ShardCommand::ConnCommand(conn, _)) = (room.checked_sub(1), &command)
        else {
            return Err(RefusedCommand {
                error: SendError::Full,
                command,
            });
        };
        self.room.store(left, Ordering::Relaxed);
        self.passed.lock().unwrap().push(*conn);
        Ok(())
    }

    fn signal(&self, signal: ShardSignal) {
        assert_eq!(signal, ShardSignal::Descriptor);
        self.descriptors.fetch_add(1, Ordering::Relaxed);
    }

    fn shut_down(&self, _: Duration) {}
}

/// Returns the router of the first of three shards, the shards, and their
/// mailboxes.
fn three() -> (ShardRouter, Arc<ShardSet>, Vec<Arc<TestMailbox>>) {
    let mailboxes: Vec<Arc<TestMailbox>> = (0..3).map(|_| Arc::default()).collect();
    let boxed = mailboxes
        .iter()
        .map(|mailbox| Box::new(Arc::clone(mailbox)) as Box<dyn Mailbox>)
        .collect();
    let limits = SharedLimits::new(&Config::default());
    let shards = Arc::new(ShardSet::new(boxed, limits, Placement::RoundRobin));
    let first = ShardRouter::new(ShardId::FIRST, Arc::clone(&shards));
    (first, shards, mailboxes)
}

fn shard(index: usize) -> ShardId {
    ShardId::new(index).unwrap()
}

fn conn(shard_index: usize, generation: u32) -> ConnId {
    ConnId::new(shard(shard_index), 0, generation)
}

fn command(conn: ConnId) -> ShardCommand {
    ShardCommand::ConnCommand(conn, ConnCommand::Close)
}

#[test]
fn no_command_overtakes_a_waiting_one() {
    let (mut first, _, mailboxes) = three();
    let conns: Vec<ConnId> = (1..=4).map(|generation| conn(1, generation)).collect();
    first.pass_or_queue(shard(1), command(conns[0]), 2).unwrap();
    first.pass_or_queue(shard(1), command(conns[1]), 2).unwrap();
    let one_more = first.pass_or_queue(shard(1), command(conns[2]), 2);
    assert_eq!(one_more, Err(SendError::Full));
    mailboxes[1].room.store(1, Ordering::Relaxed);
    let early = first.pass(shard(1), command(conns[3]));
    assert_eq!(
        early,
        Err(SendError::Full),
        "the second command is passed first"
    );
    mailboxes[1].room.store(9, Ordering::Relaxed);
    first.pass(shard(1), command(conns[3])).unwrap();
    assert!(first.pass_all_waiting());
    let passed = mailboxes[1].passed.lock().unwrap();
    assert_eq!(*passed, [conns[0], conns[1], conns[3]]);
}

#[test]
fn a_full_shard_does_not_delay_others() {
    let (mut first, _, mailboxes) = three();
    mailboxes[2].room.store(1, Ordering::Relaxed);
    first
        .pass_or_queue(shard(1), command(conn(1, 1)), 1)
        .unwrap();
    first
        .pass_or_queue(shard(2), command(conn(2, 1)), 1)
        .unwrap();
    assert_eq!(*mailboxes[2].passed.lock().unwrap(), [conn(2, 1)]);
    first
        .pass_or_queue(shard(2), command(conn(2, 2)), 1)
        .unwrap();
    mailboxes[2].room.store(1, Ordering::Relaxed);
    assert!(!first.pass_all_waiting());
    assert_eq!(
        *mailboxes[2].passed.lock().unwrap(),
        [conn(2, 1), conn(2, 2)]
    );
}

#[test]
fn a_rejected_socket_frees_its_descriptor() {
    let (mut first, shards, mailboxes) = three();
    let second = ShardRouter::new(shard(1), shards);
    first.note_accept_start();
    assert!(!first.note_listener_paused());
    second.add_connection();
    second.remove_rejected();
    assert_eq!(mailboxes[0].descriptors.load(Ordering::Relaxed), 1);
    assert!(
        first.note_listener_paused(),
        "a descriptor was freed since the accept"
    );
}

/// A stream that is connecting, and its local address.
fn connecting(to: SocketAddr) -> Stream {
    let poller = crate::sys::Poller::new(None).unwrap();
    let sockets = crate::sys::SocketOptions::new(&Config::default());
    let registrar = poller.registrar();
    registrar.connect(to, None, None, &sockets).unwrap()
}

#[test]
fn connect_of_a_shard_holds_no_lock() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let other: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let (first, shards, _) = three();
    let second = ShardRouter::new(shard(1), shards);
    let stream = first.connect(conn(0, 1), addr, || {
        // Neither the connect of a shard nor the search for another address
        // waits for this one.
        second.connect(conn(1, 1), other, || Ok(connecting(addr)))?;
        assert_eq!(second.find_connect(addr, other), None);
        Ok(connecting(addr))
    });
    assert!(stream.is_ok());
}

#[test]
fn search_waits_for_a_connect_to_its_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (first, shards, _) = three();
    for is_refused in [false, true] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let second = ShardRouter::new(shard(1), Arc::clone(&shards));
        let found = std::thread::scope(|scope| {
            let search = scope.spawn(move || {
                let from = receiver.recv().unwrap();
                second.find_connect(from, addr)
            });
            let stream = first.connect(conn(0, 1), addr, || {
                let stream = connecting(addr);
                sender.send(stream.local_addr()?).unwrap();
                // Most likely the search has begun then.
                std::thread::sleep(Duration::from_millis(20));
                if is_refused {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Ok(stream)
            });
            assert_eq!(stream.is_err(), is_refused);
            search.join().unwrap()
        });
        assert_eq!(found, (!is_refused).then_some(conn(0, 1)));
    }
}
