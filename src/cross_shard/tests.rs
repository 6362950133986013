use super::*;
use crate::config::Config;

/// A shard of which only the door is there.
#[derive(Default)]
struct Front {
    room: AtomicUsize,
    /// What orders were for, in their order.
    heard: Mutex<Vec<ConnId>>,
    descriptors: AtomicUsize,
}

impl Mailbox for Arc<Front> {
    fn pass(&self, order: ShardCommand) -> Result<(), RefusedCommand<ShardCommand>> {
        let room = self.room.load(Ordering::Relaxed);
        let (Some(left), ShardCommand::ConnCommand(conn, _)) = (room.checked_sub(1), &order) else {
            return Err(RefusedCommand {
                error: SendError::Full,
                command: Some(order),
            });
        };
        self.room.store(left, Ordering::Relaxed);
        self.heard.lock().unwrap().push(*conn);
        Ok(())
    }

    fn tell(&self, news: ShardSignal) {
        assert_eq!(news, ShardSignal::Descriptor);
        self.descriptors.fetch_add(1, Ordering::Relaxed);
    }

    fn shut_down(&self, _: Duration) {}
}

/// What the first of three shards knows, and the doors of all.
fn three() -> (ShardRouter, Arc<ShardSet>, Vec<Arc<Front>>) {
    let fronts: Vec<Arc<Front>> = (0..3).map(|_| Arc::default()).collect();
    let mailboxes = fronts
        .iter()
        .map(|front| Box::new(Arc::clone(front)) as Box<dyn Mailbox>)
        .collect();
    let limits = SharedLimits::new(&Config::default());
    let shards = Arc::new(ShardSet::new(mailboxes, limits, Placement::RoundRobin));
    let first = ShardRouter::new(ShardId::FIRST, Arc::clone(&shards));
    (first, shards, fronts)
}

fn shard(index: usize) -> ShardId {
    ShardId::new(index).unwrap()
}

fn conn(shard_index: usize, generation: u32) -> ConnId {
    ConnId::new(shard(shard_index), 0, generation)
}

fn order(conn: ConnId) -> ShardCommand {
    ShardCommand::ConnCommand(conn, ConnCommand::Close)
}

#[test]
fn nothing_overtakes_what_waits_for_room() {
    let (mut first, _, fronts) = three();
    let conns: Vec<ConnId> = (1..=4).map(|generation| conn(1, generation)).collect();
    first.insist(shard(1), order(conns[0]), 2).unwrap();
    first.insist(shard(1), order(conns[1]), 2).unwrap();
    let one_more = first.insist(shard(1), order(conns[2]), 2);
    assert_eq!(one_more, Err(SendError::Full));
    fronts[1].room.store(1, Ordering::Relaxed);
    let early = first.pass(shard(1), order(conns[3]));
    assert_eq!(
        early,
        Err(SendError::Full),
        "the second one comes before it"
    );
    fronts[1].room.store(9, Ordering::Relaxed);
    first.pass(shard(1), order(conns[3])).unwrap();
    assert!(first.flush_all_waiting());
    let heard = fronts[1].heard.lock().unwrap();
    assert_eq!(*heard, [conns[0], conns[1], conns[3]]);
}

#[test]
fn a_full_shard_holds_up_nobody_else() {
    let (mut first, _, fronts) = three();
    fronts[2].room.store(1, Ordering::Relaxed);
    first.insist(shard(1), order(conn(1, 1)), 1).unwrap();
    first.insist(shard(2), order(conn(2, 1)), 1).unwrap();
    assert_eq!(*fronts[2].heard.lock().unwrap(), [conn(2, 1)]);
    first.insist(shard(2), order(conn(2, 2)), 1).unwrap();
    fronts[2].room.store(1, Ordering::Relaxed);
    assert!(!first.flush_all_waiting());
    assert_eq!(*fronts[2].heard.lock().unwrap(), [conn(2, 1), conn(2, 2)]);
}

#[test]
fn a_newcomer_that_is_turned_away_leaves_its_descriptor_to_who_rests() {
    let (mut first, shards, fronts) = three();
    let second = ShardRouter::new(shard(1), shards);
    first.begin_accept();
    assert!(!first.note_resting());
    second.connects_started();
    second.accepted_rejected();
    assert_eq!(fronts[0].descriptors.load(Ordering::Relaxed), 1);
    assert!(first.note_resting(), "one was given back since it tried");
}
