#![allow(clippy::vec_box, reason = "the boxes are what the pool keeps")]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::framing::FrameHeader;

/// Returns queues of one block each.
fn fill(pool: &mut BlockPool, count: usize) -> Vec<Box<SendQueue>> {
    let filled = |_| {
        let mut queue = pool.take_queue();
        queue.push(&FrameHeader::EMPTY, &[1; BLOCK], None, pool);
        queue
    };
    (0..count).map(filled).collect()
}

fn put_all(pool: &mut BlockPool, queues: Vec<Box<SendQueue>>) {
    queues.into_iter().for_each(|queue| pool.put_queue(queue));
}

#[test]
fn unused_blocks_after_two_windows_are_freed() {
    let mut pool = BlockPool::default();
    let queues = fill(&mut pool, 40);
    put_all(&mut pool, queues);
    assert_eq!((pool.spare_bytes(), pool.queues.len()), (40 * BLOCK, 40));
    // Steady traffic of one connection.
    for _ in 0..2 * WINDOW {
        let queues = fill(&mut pool, 1);
        put_all(&mut pool, queues);
        pool.end_flush();
    }
    assert_eq!((pool.spare_bytes(), pool.queues.len()), (BLOCK, 1));
    // No traffic.
    (0..2 * WINDOW).for_each(|_| pool.end_flush());
    assert_eq!((pool.spare_bytes(), pool.queues.len()), (0, 0));
}

#[test]
fn repeated_burst_within_window_reuses_blocks() {
    let mut pool = BlockPool::default();
    let queues = fill(&mut pool, 40);
    put_all(&mut pool, queues);
    for _ in 0..5 {
        (0..WINDOW).for_each(|_| pool.end_flush());
        assert_eq!(pool.spare_bytes(), 40 * BLOCK);
        let queues = fill(&mut pool, 40);
        assert_eq!(pool.spare_bytes(), 0);
        put_all(&mut pool, queues);
    }
}

#[test]
fn large_block_is_lent_while_account_is_ample() {
    for (limit, lent) in [(256 << 20, BLOCK), (1 << 20, BLOCK_MIN)] {
        let mut pool = BlockPool::new(limit);
        let queues = fill(&mut pool, 1);
        put_all(&mut pool, queues);
        let mut queue = pool.take_queue();
        queue.push(&FrameHeader::EMPTY, b"a few", None, &mut pool);
        assert_eq!((queue.memory(), pool.account.used()), (lent, lent));
        pool.put_queue(queue);
        assert_eq!(pool.account.used(), 0);
    }
}

#[test]
fn shared_body_is_charged_until_last_reader() {
    let mut pool = BlockPool::default();
    let body = Bytes::from(vec![7; 100_000]);
    let key = pool.insert_body(body.len());
    let mut queues: Vec<_> = (0..300).map(|_| pool.take_queue()).collect();
    for queue in &mut queues {
        queue.push_shared(&FrameHeader::EMPTY, body.clone(), None, key, &mut pool);
        assert!(queue.memory() >= body.len() && queue.charge() < 200);
    }
    let beside = queues[0].charge();
    assert_eq!(pool.account.used(), body.len() + 300 * beside);
    let last = queues.pop().expect("300");
    // A body that is partly written is still held whole.
    for mut queue in queues {
        queue.advance(body.len() - 1, &mut pool);
        assert_eq!(queue.charge(), beside);
        queue.advance(1, &mut pool);
        assert_eq!(queue.charge(), 0);
        pool.put_queue(queue);
    }
    assert_eq!(pool.account.used(), body.len() + beside);
    pool.put_queue(last);
    assert_eq!(pool.account.used(), 0);
}

/// A step with one of several queues.
#[derive(Clone, Debug)]
enum Step {
    Copy(usize),
    /// A body that all queues take.
    Share(usize),
    Write(usize),
    Shrink,
    Return,
    EndFlush,
}

fn step() -> impl Strategy<Value = Step> {
    let copied = prop_oneof![1usize..100, 1usize..20_000, 1usize..2 * BLOCK];
    prop_oneof![
        6 => copied.prop_map(Step::Copy),
        1 => (1usize..BLOCK).prop_map(Step::Share),
        3 => (1usize..BLOCK).prop_map(Step::Write),
        1 => Just(Step::Shrink),
        1 => Just(Step::Return),
        1 => Just(Step::EndFlush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The account is what the queues hold, and none of them grows by more than
    /// was computed before, whatever the others have left in the pool.
    #[test]
    fn account_is_what_all_queues_hold(
        steps in prop::collection::vec((0usize..5, step()), 1..200),
        limit in prop_oneof![Just(0), Just(usize::MAX), 4 * BLOCK..40 * BLOCK],
    ) {
        let mut pool = BlockPool::new(limit);
        let mut queues: Vec<_> = (0..5).map(|_| pool.take_queue()).collect();
        let mut bodies: Vec<Bytes> = Vec::new();
        for (index, step) in steps {
            let (queue, before) = (&mut queues[index], pool.account.used());
            let mut growth = 0;
            match step {
                Step::Copy(len) => {
                    growth = queue.growth_of_copy(len, &pool);
                    queue.push(&FrameHeader::EMPTY, &vec![1; len], None, &mut pool);
                }
                Step::Share(len) => {
                    let (body, key) = (Bytes::from(vec![1; len]), pool.insert_body(len));
                    growth = len;
                    for queue in &mut queues {
                        growth += queue.growth_of_chain();
                        let body = body.clone();
                        queue.push_shared(&FrameHeader::EMPTY, body, Some(b'x'), key, &mut pool);
                    }
                    bodies.push(body);
                }
                Step::Write(len) => queue.advance(len.min(queue.len()), &mut pool),
                Step::Shrink => queue.shrink(&mut pool),
                Step::Return => {
                    let next = pool.take_queue();
                    pool.put_queue(std::mem::replace(&mut queues[index], next));
                }
                Step::EndFlush => pool.end_flush(),
            }
            prop_assert!(pool.account.used() <= before + growth);
            bodies.retain(|body| !body.is_unique());
            let shared: usize = bodies.iter().map(Bytes::len).sum();
            let held: usize = queues.iter().map(|queue| queue.charge()).sum();
            prop_assert_eq!(pool.account.used(), held + shared);
            prop_assert!(pool.spare_bytes() <= SPARE_BYTES_MAX);
        }
        put_all(&mut pool, queues);
        prop_assert_eq!((pool.lent_bytes, pool.account.used()), (0, 0));
    }
}
