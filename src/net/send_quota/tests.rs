use super::*;
use crate::id::ShardId;

const MIB: usize = 1 << 20;
const LIMIT: usize = 256 * MIB;
/// The part of the limit to which the threshold applies.
const SHARED: usize = LIMIT / RESERVE_PART * (RESERVE_PART - 1);

/// A loop with queues, reduced to their sizes.
struct Loop {
    quota: SendQuota,
    account: SendAccount,
    queues: Vec<usize>,
}

impl Loop {
    fn new(queues: usize) -> Self {
        Self {
            quota: SendQuota::new(LIMIT),
            account: SendAccount::default(),
            queues: vec![0; queues],
        }
    }

    fn pending(&self, queue: usize, len: usize) -> PendingSend {
        PendingSend {
            frame: len,
            growth: Growth::charged(len),
            memory: self.queues[queue],
            is_empty: self.queues[queue] == 0,
            has_turn: false,
        }
    }

    fn send(&mut self, queue: usize, len: usize) -> bool {
        let send = self.pending(queue, len);
        let is_taken = self.quota.admits(&send, &self.account);
        if is_taken {
            self.queues[queue] += len;
            self.account.charge(len);
        }
        is_taken
    }

    fn write(&mut self, queue: usize, len: usize) {
        self.queues[queue] -= len;
        self.account.discharge(len);
    }

    fn left(&self) -> usize {
        LIMIT - self.account.used()
    }
}

fn conn(slot: usize) -> ConnId {
    ConnId::new(ShardId::FIRST, slot as u32, 1)
}

#[test]
fn full_queues_hold_equal_parts_and_leave_one() {
    for count in [1, 2, 7, 70, 1000] {
        let mut it = Loop::new(count + 1);
        let len = 16 * 1024;
        let one_each = |it: &mut Loop| (0..count).filter(|queue| it.send(*queue, len)).count();
        while one_each(&mut it) > 0 {}
        let part = SHARED / (count + 1);
        for queue in 0..count {
            assert!(it.queues[queue].abs_diff(part) <= len, "{count}");
        }
        assert!(it.left() >= LIMIT / RESERVE_PART + part - (count + 1).min(3) * len);
        let largest = *it.queues.iter().max().expect("at least one queue") - len;
        assert!(it.send(count, largest), "{count}");
    }
}

#[test]
fn thousand_full_queues_leave_small_messages() {
    let mut it = Loop::new(1001);
    for queue in 0..1000 {
        for len in [8 * MIB, 4 * MIB, MIB, 100_000, 10_000, 1000, 100, 1] {
            // Fill the queue to its own maximum.
            while it.queues[queue] <= 4 * MIB && it.send(queue, len) {}
        }
    }
    for _ in 0..100 {
        assert!(it.send(1000, 64 * 1024));
        assert!(!it.send(1000, 64 * 1024));
        it.write(1000, 64 * 1024);
    }
}

#[test]
fn only_a_single_message_exceeds_the_limit() {
    let mut it = Loop::new(3);
    assert!(it.send(0, LIMIT + 1));
    assert!(!it.send(1, 1) && !it.send(0, 1));
    it.write(0, LIMIT + 1);
    assert!(it.send(0, LIMIT));
    assert!(!it.send(1, 1));
    it.write(0, 100);
    assert!(it.send(1, 100) && !it.send(2, 1));
    assert_eq!(it.left(), 0);
}

#[test]
fn waiting_send_lets_only_small_queues_grow() {
    let mut it = Loop::new(4);
    it.quota.join_line(conn(3));
    assert!(it.send(0, MIB), "an empty queue");
    assert!(!it.send(0, 1), "a queue that is not empty");
    assert!(it.send(1, 100) && it.send(1, 100), "a small queue");
    let mut send = it.pending(0, 1);
    send.has_turn = true;
    assert!(it.quota.admits(&send, &it.account));
    send.has_turn = false;
    send.growth = Growth {
        memory: MIB,
        charge: 0,
    };
    assert!(
        it.quota.admits(&send, &it.account),
        "memory that the queue has"
    );
}

#[test]
fn line_is_served_in_order_while_there_is_room() {
    let mut it = Loop::new(6);
    // A queue that is not empty, an empty one with a large message, two that
    // fit, one whose connection has ended, and one more with a large message.
    it.queues = vec![100 * MIB, 0, MIB, 0, 0, 0];
    it.account.charge(150 * MIB);
    let frames = [MIB, 60 * MIB, MIB, 20 * MIB, MIB, 30 * MIB];
    (0..6).for_each(|slot| it.quota.join_line(conn(slot)));
    let serve = |it: &mut Loop| {
        let mut served = Vec::new();
        let queues = it.queues.clone();
        let describe = |_: &mut Vec<usize>, conn: ConnId| {
            let slot = conn.slot();
            let memory = queues[slot];
            (slot != 4).then_some(PendingSend {
                frame: frames[slot],
                growth: Growth::charged(frames[slot]),
                memory,
                is_empty: memory == 0,
                has_turn: false,
            })
        };
        let add = |served: &mut Vec<usize>, conn: ConnId| served.push(conn.slot());
        it.quota.serve_line(&it.account, &mut served, describe, add);
        served
    };
    // 42 MiB are left above the reserve, less the messages served before.
    assert_eq!(serve(&mut it), [3]);
    it.account.discharge(40 * MIB);
    assert_eq!(serve(&mut it), [1]);
    it.account.discharge(40 * MIB);
    it.queues[0] = 10 * MIB;
    assert_eq!(serve(&mut it), [0, 2, 5]);
    assert!(it.quota.is_line_empty());
}
