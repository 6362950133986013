//! Reading from sockets.

use std::io;

use super::connect::ConnectEvent;
use super::{EventLoop, InboundHalf};
use crate::buffers::{PartialFrame, ReadBuffer};
use crate::connection::{ConnEntry, Lifecycle};
use crate::error::DisconnectReason;
use crate::handler::Handler;
use crate::mutants::mutant;

/// Maximum length of a read after an interrupted batch, in bytes.
const LITTLE: usize = 16 * 1024;

/// Maximum length of a read for a session, in bytes. The time of the visit is
/// checked after each read, and TLS key updates are the slowest input:
/// decrypting 32 KiB of them takes several milliseconds.
const SEALED_MAX: usize = 32 * 1024;

/// Maximum length of a read, in bytes, for a session that took long with the
/// last one.
const SEALED_LITTLE: usize = 4 * 1024;

/// The next step after one read.
enum ReadStep {
    /// More bytes may be readable. The number of bytes counts against the
    /// budget.
    Read(usize),
    /// This visit reads no more.
    Stop,
}

/// The result of a call of `read`.
enum ReadResult {
    Bytes {
        count: usize,
        /// The bytes are in the partial frame, not in the loop's buffer.
        in_partial: bool,
    },
    End,
    Interrupted,
    Empty,
    Failed(io::Error),
}

impl<H: Handler> EventLoop<'_, H> {
    /// Handles the readiness of one connection.
    pub(super) fn run_connection(&mut self, half: &mut InboundHalf) {
        let conn = half.id;
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return;
        };
        mutant!(LoseWritableEdge => half.writable = false);
        let may_write = std::mem::take(&mut half.writable) && entry.write_failure().is_none();
        let has_room = may_write && std::mem::take(&mut entry.blocked);
        match entry.lifecycle() {
            Lifecycle::Connecting => {
                // An error counts as the end of the stream.
                let event = if may_write && !half.read_closed_seen {
                    ConnectEvent::OnlyRoom
                } else {
                    ConnectEvent::Other
                };
                self.complete_connect(half, event);
                if self.is_handshaking(conn) {
                    // Bytes that arrived with the connection are read in the
                    // next turn, which has a budget for them.
                    if half.readable {
                        self.state.lists.carry_over(half);
                    }
                    return;
                }
            }
            // The kept bytes are no longer delivered.
            Lifecycle::Closing(_) => half.partial = PartialFrame::default(),
            _ => {}
        }
        // Writing comes before reading, because it makes room in the queue to
        // which a handler appends its answers.
        if has_room {
            self.state.lists.write(self.net, half);
        }
        if let Some(delivered) = self.deliver_kept(half) {
            self.resume_session(half);
            let budget = self.net.config.budget.read_bytes;
            self.read(half, budget.saturating_sub(delivered));
        }
    }

    /// Reads and delivers until the socket is empty, or the budget or the time
    /// of the visit is used up.
    pub(super) fn read(&mut self, half: &mut InboundHalf, mut budget: usize) {
        // If the session defers reads, the write that sends its answers
        // schedules the next visit.
        while half.readable || half.partial.is_undecoded() {
            let Some(entry) = self.net.conns.get_mut(half.id) else {
                return;
            };
            let is_closing = matches!(entry.lifecycle(), Lifecycle::Closing(_));
            let is_broken = entry.write_failure().is_some();
            match entry.lifecycle() {
                Lifecycle::Open if entry.is_delivery_stopped => {
                    if self.net.visit.is_limited {
                        return;
                    }
                    return self.read_stopped(half, budget);
                }
                Lifecycle::Handshaking | Lifecycle::Open | Lifecycle::Closing(_) => {}
                Lifecycle::Connecting | Lifecycle::Ended(_) | Lifecycle::Released => return,
            }
            if !is_closing && half.partial.is_undecoded() {
                return self.state.lists.carry_over(half);
            }
            if !is_closing && half.defers_reads() {
                if !is_broken {
                    return;
                }
                // After a write failure the answers can never be written.
                half.discard_answers();
            }
            if budget == 0 || self.net.visit.is_over {
                if self.net.visit.is_limited {
                    // `read_stopped` continues.
                    return;
                }
                self.net.metrics.read_budget_hits += u64::from(budget == 0);
                mutant!(ForgetCarriedOver => return);
                return self.state.lists.carry_over(half);
            }
            let result = read_bytes(entry, half, self.buffer, budget);
            match self.apply_read(half, result) {
                ReadStep::Read(count) => budget = budget.saturating_sub(count),
                ReadStep::Stop => return,
            }
        }
    }

    fn apply_read(&mut self, half: &mut InboundHalf, result: ReadResult) -> ReadStep {
        match result {
            ReadResult::Bytes { count, in_partial } => {
                half.has_received = true;
                self.net.visit.received_bytes += count as u64;
                if in_partial {
                    if self.deliver_kept(half).is_none() {
                        return ReadStep::Stop;
                    }
                    self.note_read(half, 0);
                } else if half.channel.is_none() {
                    self.deliver_received(half, count);
                } else {
                    self.receive_sealed(half, count);
                }
                return ReadStep::Read(count);
            }
            ReadResult::Interrupted => return ReadStep::Read(0),
            ReadResult::End => self.stream_ended(half),
            ReadResult::Empty => self.handle_empty_socket(half.id),
            ReadResult::Failed(error) => {
                self.end_broken(half.id, DisconnectReason::from_io(&error));
            }
        }
        ReadStep::Stop
    }
}

/// Reads once into the loop's buffer, or directly after an incomplete message
/// that one read cannot complete.
fn read_bytes(
    entry: &mut ConnEntry,
    half: &mut InboundHalf,
    buffer: &mut ReadBuffer,
    budget: usize,
) -> ReadResult {
    let Some(stream) = &mut entry.stream else {
        half.readable = false;
        return ReadResult::Empty;
    };
    let is_sealed = half.channel.is_some();
    let in_partial = !is_sealed && half.partial.misses_more_than(buffer.len());
    let room = if in_partial {
        half.partial.room(budget)
    } else {
        let max = match (is_sealed, half.reads_little) {
            (true, true) => SEALED_LITTLE,
            (true, false) => SEALED_MAX,
            (false, true) => LITTLE,
            (false, false) => usize::MAX,
        };
        buffer.room(budget.min(max))
    };
    let room_len = room.len();
    match stream.read(room) {
        Ok(0) => {
            half.readable = false;
            ReadResult::End
        }
        Ok(count) => {
            // Where a short read shows that the socket is empty, it saves the
            // read that would return `WouldBlock`. On other platforms only that
            // read re-arms the event. An end of stream that was reported with
            // the data causes no second event.
            let is_short = count < room_len && stream.short_read_is_empty();
            if is_short && !half.read_closed_seen {
                half.readable = false;
            }
            mutant!(StopOnShortRead => half.readable &= count == room_len);
            if in_partial {
                half.partial.add_filled(count);
            }
            ReadResult::Bytes { count, in_partial }
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => ReadResult::Interrupted,
        Err(error) => {
            half.readable = false;
            if error.kind() == io::ErrorKind::WouldBlock {
                ReadResult::Empty
            } else {
                ReadResult::Failed(error)
            }
        }
    }
}
