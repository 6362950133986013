use proptest::prelude::*;

use super::*;
use crate::buffers::block_pool::{SPARE_BYTES_MAX, SPARE_QUEUES_MAX};
use crate::framing::{ByteOrder, LengthPrefix};

fn header(len: usize) -> FrameHeader {
    LengthPrefix::Four(ByteOrder::BigEndian).header(len)
}

/// Returns the pool of a loop whose memory is never short.
fn ample_pool() -> BlockPool {
    BlockPool::new(usize::MAX)
}

/// Returns all queued bytes, written in steps of at most `step` bytes.
fn drain(queue: &mut SendQueue, step: usize, pool: &mut BlockPool) -> Vec<u8> {
    let mut wire = Vec::new();
    while !queue.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (count, total) = queue.gather(&mut slices, step);
        assert!(total > 0, "a queue that is not empty returns slices");
        let before = wire.len();
        slices[..count]
            .iter()
            .for_each(|slice| wire.extend_from_slice(slice));
        assert_eq!(wire.len() - before, total);
        queue.advance(total, pool);
    }
    wire
}

#[derive(Clone, Debug)]
enum Push {
    Copied(usize),
    Parts(usize, usize),
    Shared(usize),
    Line(usize),
}

impl Push {
    fn frame_len(&self) -> usize {
        match *self {
            Self::Copied(len) | Self::Shared(len) => 4 + len,
            Self::Parts(a, b) => 4 + a + b,
            Self::Line(len) => len + 1,
        }
    }
}

/// Returns the memory of a queue, counted piece by piece.
fn held(queue: &SendQueue) -> usize {
    let chunk = |chunk: &Chunk| match chunk {
        Chunk::Block { bytes, .. } => bytes.capacity(),
        Chunk::FrameHeader { .. } => 0,
        Chunk::Body(bytes) | Chunk::SharedBody(bytes, _) => bytes.len(),
    };
    let chain: usize = queue.chain.iter().map(chunk).sum();
    let entries = queue.chain.len() * CHUNK_OVERHEAD + queue.tracked.len() * TRACKED_OVERHEAD;
    chain + entries + queue.tail.capacity()
}

fn push() -> impl Strategy<Value = Push> {
    let len = prop_oneof![
        0usize..100,
        0usize..20_000,
        60_000usize..70_000,
        200_000usize..700_000
    ];
    prop_oneof![
        len.clone().prop_map(Push::Copied),
        (len.clone(), 0usize..100).prop_map(|(a, b)| Push::Parts(a, b)),
        len.clone().prop_map(Push::Shared),
        len.prop_map(Push::Line),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// All pushed bytes are written in order and unchanged, at every size of
    /// write. The token of a tracked send is returned exactly when the last
    /// byte of its frame is written.
    #[test]
    fn everything_pushed_is_written_unchanged(
        pushes in prop::collection::vec(push(), 1..40),
        step in prop_oneof![Just(1usize), 1usize..5_000, Just(usize::MAX)],
        advance_every in 1usize..5,
        limit in prop_oneof![Just(0), Just(usize::MAX), 4 * BLOCK..40 * BLOCK],
    ) {
        let step = if step == 1 && pushes.len() > 4 { 997 } else { step };
        let mut pool = BlockPool::new(limit);
        let mut queue = SendQueue::default();
        if pushes.len() % 3 == 0 {
            // A full block is unused.
            queue.push(&FrameHeader::EMPTY, &[0; BLOCK], None, &mut pool);
            queue.clear(&mut pool);
        }
        let mut expected = Vec::new();
        let mut ends = Vec::new();
        let mut wire = Vec::new();
        let mut sent = Vec::new();
        for (index, push) in pushes.iter().enumerate() {
            let fill = index as u8;
            let (before, frame) = (queue.memory(), push.frame_len());
            let growth = match *push {
                Push::Shared(len) => queue.growth_of_chain() + len,
                _ => queue.growth_of_copy(frame, &pool),
            };
            let growth_max = queue.growth_max(frame, &pool);
            match *push {
                Push::Copied(len) => {
                    queue.push(&header(len), &vec![fill; len], None, &mut pool);
                    expected.extend_from_slice(&(len as u32).to_be_bytes());
                    expected.resize(expected.len() + len, fill);
                }
                Push::Parts(a, b) => {
                    let (first, second) = (vec![fill; a], vec![fill; b]);
                    let parts = [IoSlice::new(&first), IoSlice::new(&second)];
                    queue.push_in_parts(&header(a + b), &parts, None, &mut pool);
                    expected.extend_from_slice(&((a + b) as u32).to_be_bytes());
                    expected.resize(expected.len() + a + b, fill);
                }
                Push::Shared(len) => {
                    queue.push_body(&header(len), vec![fill; len].into(), None, &mut pool);
                    expected.extend_from_slice(&(len as u32).to_be_bytes());
                    expected.resize(expected.len() + len, fill);
                }
                Push::Line(len) => {
                    queue.push(&FrameHeader::EMPTY, &vec![fill; len], Some(b'\n'), &mut pool);
                    expected.resize(expected.len() + len, fill);
                    expected.push(b'\n');
                }
            }
            let grown = queue.memory().saturating_sub(before);
            prop_assert!(grown <= growth, "{} by {grown}, at most {growth}", push.frame_len());
            queue.track(index as u64, &mut pool);
            if !matches!(*push, Push::Shared(len) if len < CHAIN_MIN) {
                prop_assert!(queue.memory().saturating_sub(before) <= growth_max);
            }
            prop_assert_eq!(queue.memory(), held(&queue));
            prop_assert_eq!(pool.account.used(), queue.memory());
            ends.push(expected.len());
            prop_assert_eq!(queue.len(), expected.len() - wire.len());
            if index % advance_every == 0 {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let (count, total) = queue.gather(&mut slices, step);
                slices[..count].iter().for_each(|slice| wire.extend_from_slice(slice));
                queue.advance(total, &mut pool);
                while let Some(token) = queue.pop_sent_token(&mut pool) {
                    sent.push(token as usize);
                }
                let complete = ends.iter().filter(|end| **end <= wire.len()).count();
                prop_assert_eq!(&sent, &(0..complete).collect::<Vec<_>>());
            }
            if index % 7 == 3 {
                queue.shrink(&mut pool);
            }
        }
        wire.extend(drain(&mut queue, step.max(997), &mut pool));
        prop_assert!(wire == expected, "the bytes differ");
        while queue.pop_sent_token(&mut pool).is_some() {}
        prop_assert_eq!(queue.cost(), 0);
        pool.put_queue(Box::new(queue));
        prop_assert_eq!(pool.lent_bytes, 0, "every block was returned");
        prop_assert_eq!(pool.account.used(), 0, "everything was discharged");
    }
}

/// Returns a queue of one full block with `len` bytes left to write, and these.
fn mostly_written(len: usize, pool: &mut BlockPool) -> (SendQueue, Vec<u8>) {
    let mut queue = SendQueue::default();
    let body: Vec<u8> = (0..BLOCK).map(|at| at as u8).collect();
    queue.push(&FrameHeader::EMPTY, &body, None, pool);
    queue.advance(BLOCK - len, pool);
    (queue, body[BLOCK - len..].to_vec())
}

#[test]
fn shrink_copies_nothing_until_memory_is_short() {
    let mut pool = ample_pool();
    let (mut queue, rest) = mostly_written(10, &mut pool);
    let block = queue.tail.as_ptr();
    queue.shrink(&mut pool);
    assert_eq!((queue.tail.as_ptr(), queue.memory()), (block, BLOCK));
    assert_eq!(drain(&mut queue, usize::MAX, &mut pool), rest);
}

#[test]
fn blocked_queue_returns_mostly_empty_blocks() {
    for in_chain in [false, true] {
        let mut pool = BlockPool::default();
        let (mut queue, mut rest) = mostly_written(BLOCK_MIN + 10, &mut pool);
        if in_chain {
            queue.push(&FrameHeader::EMPTY, b"more", None, &mut pool);
            rest.extend(b"more");
            assert!(matches!(queue.chain.front(), Some(Chunk::Block { .. })));
        }
        let most = pool.account.max_used();
        queue.shrink(&mut pool);
        // The block is returned before the small ones are taken.
        assert_eq!(pool.account.max_used(), most);
        assert!(queue.memory() < 4 * BLOCK_MIN, "{}", queue.memory());
        assert_eq!(pool.account.used(), queue.memory());
        assert_eq!(drain(&mut queue, 1000, &mut pool), rest);
    }
}

#[test]
fn queue_up_to_high_bytes_is_one_slice() {
    const KIB: usize = 1024;
    let high_bytes = 256 * KIB;
    for size in [16, 256, 4 * KIB, 32 * KIB, 64 * KIB, 128 * KIB] {
        let mut pool = ample_pool();
        // A full block is unused, as it is while messages are sent steadily.
        let (queue, _) = mostly_written(1, &mut pool);
        pool.put_queue(Box::new(queue));
        let mut queue = pool.take_queue();
        while queue.cost() < high_bytes {
            queue.push(&header(size), &vec![0; size], None, &mut pool);
        }
        let slice = queue.front_slice(usize::MAX).map(<[u8]>::len);
        assert_eq!(slice, Some(queue.len()), "messages of {size}");
    }
}

#[test]
fn block_is_touched_only_where_it_is_used() {
    let mut pool = ample_pool();
    let mut queue = SendQueue::default();
    // Too much for small blocks.
    let body = vec![1; 5 * BLOCK_MIN];
    queue.push(&FrameHeader::EMPTY, &body, None, &mut pool);
    assert_eq!(queue.tail.capacity(), BLOCK);
    assert_eq!(
        queue.tail.len(),
        body.len() + BLOCK_MIN,
        "the initialised part"
    );
}

#[test]
fn few_bytes_take_small_blocks() {
    for mut pool in [BlockPool::default(), ample_pool()] {
        let mut queue = SendQueue::default();
        for count in 1..=4 * BLOCK_MIN / 1000 {
            queue.push(&FrameHeader::EMPTY, &[0; 1000], None, &mut pool);
            assert!(queue.memory() < count * 1000 + BLOCK_MIN + 8 * CHUNK_OVERHEAD);
        }
    }
}

#[test]
fn long_queue_is_in_small_blocks_when_short() {
    let mut pool = BlockPool::default();
    let mut queue = SendQueue::default();
    for _ in 0..100 {
        queue.push(&FrameHeader::EMPTY, &[0; 30_000], None, &mut pool);
    }
    let most = queue.len() + queue.len() / 40 + BLOCK_MIN;
    assert!(queue.memory() < most, "{}", queue.memory());
}

#[test]
fn a_large_body_is_not_copied() {
    let mut pool = BlockPool::default();
    let mut queue = SendQueue::default();
    let body = Bytes::from(vec![7; CHAIN_MIN]);
    queue.push_body(&header(body.len()), body.clone(), None, &mut pool);
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let (count, _) = queue.gather(&mut slices, usize::MAX);
    assert!(
        slices[..count]
            .iter()
            .any(|slice| slice.as_ptr() == body.as_ptr())
    );
}

#[test]
fn steady_traffic_uses_the_same_block_again() {
    let mut pool = BlockPool::default();
    let mut queue = pool.take_queue();
    queue.push(&header(10), &[1; 10], None, &mut pool);
    let block = queue.tail.as_ptr();
    drain(&mut queue, usize::MAX, &mut pool);
    pool.put_queue(queue);
    let mut queue = pool.take_queue();
    queue.push(&header(10), &[2; 10], None, &mut pool);
    assert_eq!(queue.tail.as_ptr(), block);
    assert_eq!(
        drain(&mut queue, usize::MAX, &mut pool),
        [&[0, 0, 0, 10][..], &[2; 10]].concat()
    );
}

#[test]
fn small_frames_between_bodies_hold_no_block() {
    let mut pool = BlockPool::default();
    let mut queue = SendQueue::default();
    queue.push(&header(BLOCK), &vec![0; BLOCK], None, &mut pool);
    for _ in 0..10 {
        queue.push(&header(1), b"x", None, &mut pool);
        queue.push_body(
            &header(CHAIN_MIN),
            vec![0; CHAIN_MIN].into(),
            None,
            &mut pool,
        );
    }
    let held: usize = queue
        .chain
        .iter()
        .map(|chunk| match chunk {
            Chunk::Block { bytes, .. } => bytes.capacity(),
            _ => 0,
        })
        .sum();
    assert!(held < 2 * BLOCK, "{held}");
}

#[test]
fn a_few_bytes_after_a_chain_take_no_block() {
    let mut pool = ample_pool();
    let (queue, _) = mostly_written(1, &mut pool);
    pool.put_queue(Box::new(queue));
    assert!(pool.has_full_block());
    let mut queue = SendQueue::default();
    queue.push_body(
        &FrameHeader::EMPTY,
        vec![1; CHAIN_MIN].into(),
        None,
        &mut pool,
    );
    queue.push(&FrameHeader::EMPTY, b"a few bytes", None, &mut pool);
    assert_eq!(queue.tail.capacity(), BLOCK_MIN);
}

#[test]
fn unused_memory_is_bounded() {
    let mut pool = BlockPool::default();
    let queues: Vec<_> = (0..2 * SPARE_QUEUES_MAX)
        .map(|_| {
            let mut queue = pool.take_queue();
            queue.push(&header(8192), &[0; 8192], None, &mut pool);
            queue
        })
        .collect();
    queues.into_iter().for_each(|queue| pool.put_queue(queue));
    assert_eq!(pool.queues.len(), SPARE_QUEUES_MAX);
    assert!(pool.spare_bytes() <= SPARE_BYTES_MAX);
    assert_eq!(pool.lent_bytes, 0);
}

#[test]
fn the_pool_holds_no_more_than_the_queues_did() {
    let fill = |pool: &mut BlockPool, count: usize| -> Vec<Box<SendQueue>> {
        let filled = |pool: &mut BlockPool| {
            let mut queue = pool.take_queue();
            queue.push(&FrameHeader::EMPTY, &[1; BLOCK], None, pool);
            queue
        };
        (0..count).map(|_| filled(pool)).collect()
    };
    let mut pool = BlockPool::default();
    for _ in 0..3 {
        let queues = fill(&mut pool, 40);
        assert_eq!((pool.lent_bytes, pool.spare_bytes()), (40 * BLOCK, 0));
        queues.into_iter().for_each(|queue| pool.put_queue(queue));
        // All blocks are kept and reused.
        assert_eq!((pool.lent_bytes, pool.spare_bytes()), (0, 40 * BLOCK));
    }
    let queues = fill(&mut pool, 300);
    queues.into_iter().for_each(|queue| pool.put_queue(queue));
    assert_eq!(pool.spare_bytes(), SPARE_BYTES_MAX / BLOCK * BLOCK);
}
