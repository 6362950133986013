//! Writing the output of one connection.

use std::io::IoSlice;

use super::InboundHalf;
use super::seal::write_sealed;
use super::write_once::{Flushed, Write, write_once};
use crate::buffers::{BlockPool, SLICES_MAX, SendQueue};
use crate::connection::ConnEntry;
use crate::metrics::Metrics;
use crate::mutants::mutant;
use crate::sys::Stream;

/// Writes the output of a connection, up to a budget.
#[inline]
pub(super) fn write_output(
    entry: &mut ConnEntry,
    half: &mut InboundHalf,
    budget: usize,
    metrics: &mut Metrics,
    pool: &mut BlockPool,
) -> Flushed {
    if half.channel.is_none() {
        write_queue(entry, budget, metrics, pool)
    } else {
        write_sealed(entry, half, budget, metrics, pool)
    }
}

/// Writes until the queue is empty, the socket is full, or the budget is used
/// up.
fn write_queue(
    entry: &mut ConnEntry,
    mut budget: usize,
    metrics: &mut Metrics,
    pool: &mut BlockPool,
) -> Flushed {
    let (Some(queue), Some(stream)) = (&mut entry.queue, &mut entry.stream) else {
        return Flushed::All;
    };
    while !queue.is_empty() {
        if budget == 0 {
            return Flushed::OverBudget;
        }
        let write = match queue.front_slice(budget) {
            Some(bytes) => write_once(stream, &[IoSlice::new(bytes)], bytes.len(), metrics),
            None => write_gathered(queue, stream, budget, metrics),
        };
        let write = match write {
            Ok(write) => write,
            Err(stopped) => return stopped,
        };
        entry.written += write.written as u32;
        budget -= write.written;
        queue.advance(write.written, pool);
        mutant!(DropTailOfPartialWrite => queue.advance(queue.len().min(budget), pool));
        if write.is_socket_full {
            return Flushed::Blocked;
        }
    }
    Flushed::All
}

/// Makes one write call for the slices of a queue with a chain. The array is
/// 1 KiB, which a write of one slice does not fill.
#[inline(never)]
fn write_gathered(
    queue: &SendQueue,
    stream: &mut Stream,
    budget: usize,
    metrics: &mut Metrics,
) -> Result<Write, Flushed> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let (count, offered) = queue.gather(&mut slices, budget);
    write_once(stream, &slices[..count], offered, metrics)
}
