use proptest::prelude::*;

use super::*;
use crate::buffers::block_pool::{LENT_BYTES_MIN, SPARE_BYTES_MAX, SPARE_QUEUES_MAX};
use crate::framing::{ByteOrder, LengthPrefix};

fn header(len: usize) -> FrameHeader {
    LengthPrefix::Four(ByteOrder::BigEndian).header(len)
}

/// Returns the pool of a loop with many blocked connections.
fn busy_pool() -> BlockPool {
    let mut pool = BlockPool::default();
    pool.lent_bytes = LENT_BYTES_MIN + BLOCK;
    pool
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
        130_000usize..140_000
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
        ample in 0usize..2,
    ) {
        let step = if step == 1 && pushes.len() > 4 { 997 } else { step };
        let mut pool = BlockPool::new([0, usize::MAX][ample]);
        if pushes.len() % 2 == 0 {
            pool.lent_bytes = LENT_BYTES_MIN + BLOCK;
        }
        let lent_before = pool.lent_bytes;
        let mut queue = SendQueue::default();
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
        prop_assert_eq!(pool.lent_bytes, lent_before, "every block was returned");
        prop_assert_eq!(pool.account.used(), 0, "everything was discharged");
    }
}

#[test]
fn a_shrink_without_pressure_copies_nothing() {
    let mut pool = BlockPool::default();
    let mut queue = SendQueue::default();
    queue.push(&FrameHeader::EMPTY, &[1; BLOCK], None, &mut pool);
    queue.advance(BLOCK - 10, &mut pool);
    let block = queue.tail.as_ptr();
    queue.shrink(&mut pool);
    assert_eq!((queue.tail.as_ptr(), queue.tail.len()), (block, BLOCK));
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
fn a_blocked_queue_returns_a_nearly_empty_tail() {
    let mut pool = busy_pool();
    let mut queue = SendQueue::default();
    let body: Vec<u8> = (0..BLOCK).map(|at| at as u8).collect();
    queue.push(&FrameHeader::EMPTY, &body, None, &mut pool);
    queue.advance(BLOCK - 10, &mut pool);
    queue.shrink(&mut pool);
    assert!(queue.tail.len() <= BLOCK_MIN, "{}", queue.tail.len());
    assert_eq!(queue.len(), 10);
    let rest = drain(&mut queue, usize::MAX, &mut pool);
    assert_eq!(rest, body[BLOCK - 10..]);
}

#[test]
fn a_few_bytes_after_a_chain_take_no_block() {
    let mut pool = busy_pool();
    pool.note_lent(BLOCK);
    pool.put_block(vec![0; BLOCK]);
    assert_eq!(pool.block_bytes, BLOCK);
    let mut queue = SendQueue::default();
    queue.push_body(
        &FrameHeader::EMPTY,
        vec![1; CHAIN_MIN].into(),
        None,
        &mut pool,
    );
    queue.advance(10, &mut pool);
    queue.shrink(&mut pool);
    queue.push(&FrameHeader::EMPTY, b"a few bytes", None, &mut pool);
    assert!(queue.tail.len() <= BLOCK_MIN, "{}", queue.tail.len());
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
    assert!(pool.block_bytes <= SPARE_BYTES_MAX);
    assert_eq!(pool.lent_bytes, 0);
    assert_eq!(
        pool.block_bytes,
        pool.blocks.iter().map(Vec::len).sum::<usize>()
    );
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
        assert_eq!((pool.lent_bytes, pool.block_bytes), (40 * BLOCK, 0));
        queues.into_iter().for_each(|queue| pool.put_queue(queue));
        // All blocks are kept and reused.
        assert_eq!((pool.lent_bytes, pool.block_bytes), (0, 40 * BLOCK));
    }
    let queues = fill(&mut pool, 300);
    queues.into_iter().for_each(|queue| pool.put_queue(queue));
    assert_eq!(pool.block_bytes, SPARE_BYTES_MAX);
}
