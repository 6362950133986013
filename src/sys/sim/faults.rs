//! How unkind the simulated world is, and what of that has happened.

use std::time::Duration;

use super::Random;

/// How often the simulated system and network do what they may do but seldom do. Nothing here is illegal: each is
/// something that a poller, a kernel or a network does to real programs.
///
/// Every probability is one from 0 (never) to 1 (always), drawn anew at each occasion that its field names.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Faults {
    /// Of each wait: readiness is reported for a socket that has none.
    pub spurious_readiness: f64,
    /// Of each report: readable and writable come apart, in two reports.
    pub split_readiness: f64,
    /// Of each report: it comes a moment later, when this is drawn again. At 1 none ever comes.
    pub delayed_readiness: f64,
    /// Of each wait: only a few reports are handed out, the others by the next wait.
    pub small_batches: f64,
    /// Of each socket or listener closed: one more report with its key follows.
    pub stale_readiness: f64,
    /// Of each wait, and of each node that is due: the order is drawn by lot.
    pub shuffled: f64,
    /// Of each read: it returns less than there is, often a few bytes, and the rest counts as arriving a moment later.
    pub short_read: f64,
    /// Of each write: it takes less than there is room for, often a few bytes, and half of the time nothing more for a moment.
    pub short_write: f64,
    /// Of each read, write and accept: `WouldBlock` although it need not, with an edge a moment later.
    pub would_block: f64,
    /// Of each read, write, accept and wait: `Interrupted`. A wait that is has no reports, and leaves them to the next.
    pub interrupted: f64,
    /// Of each connection: its buffers in the kernel hold between one and 4,096 bytes.
    pub small_buffers: f64,
    /// Of each piece of data sent: it travels as a segment of a few bytes.
    pub small_segments: f64,
    /// Of each end of a stream: it arrives together with the last data.
    pub fin_with_data: f64,
    /// Of each segment: it takes up to [`Faults::latency_spike_max`] longer.
    pub latency_spike: f64,
    /// How long a spike may be. Never more than a minute.
    pub latency_spike_max: Duration,
    /// Of each segment of data: the network resets the connection, anywhere inside it.
    pub reset: f64,
    /// Of each reset: what had arrived and was not read is lost (as on BSD; Linux keeps it).
    pub reset_discards: f64,
    /// Of each attempt to connect: it is refused.
    pub refused: f64,
    /// Of each attempt to connect: it is lost, and tried again by the kernel a second later.
    pub lost_connect: f64,
    /// Of each attempt to connect: a router says that there is no way (ICMP; EHOSTUNREACH or ENETUNREACH).
    pub unreachable: f64,
    /// Of each attempt to connect that finds all places of the backlog promised: it is answered all the same. If there is
    /// no place for it then, it is connected at its own end only until there is one, and after a minute its kernel
    /// hears that it is not (as on Linux with `tcp_syncookies`).
    pub overbooked_backlog: f64,
    /// Of each accept and dial: the process, or the system, runs out of descriptors or memory (EMFILE, ENFILE, ENOMEM)
    /// for up to three seconds.
    pub no_descriptor: f64,
    /// Of each socket registered with a poller: that fails (ENOSPC, see epoll_ctl(2)).
    pub failed_registration: f64,
    /// Of each accept: the connection was given up in the meantime (ECONNABORTED).
    pub aborted_accept: f64,
    /// Of each wake by a [`Handle`](crate::Handle): it comes up to ten milliseconds later.
    pub delayed_wake: f64,
    /// Of each turn of a node: the system has others to serve, and it comes up to ten milliseconds later.
    pub late_turn: f64,
}

impl Faults {
    /// Nothing unusual ever happens.
    pub const fn calm() -> Self {
        Self {
            spurious_readiness: 0.0,
            split_readiness: 0.0,
            delayed_readiness: 0.0,
            small_batches: 0.0,
            stale_readiness: 0.0,
            shuffled: 0.0,
            short_read: 0.0,
            short_write: 0.0,
            would_block: 0.0,
            interrupted: 0.0,
            small_buffers: 0.0,
            small_segments: 0.0,
            fin_with_data: 0.0,
            latency_spike: 0.0,
            latency_spike_max: Duration::from_millis(500),
            reset: 0.0,
            reset_discards: 0.0,
            refused: 0.0,
            lost_connect: 0.0,
            unreachable: 0.0,
            overbooked_backlog: 0.0,
            no_descriptor: 0.0,
            failed_registration: 0.0,
            aborted_accept: 0.0,
            delayed_wake: 0.0,
            late_turn: 0.0,
        }
    }

    /// Everything happens, often.
    pub const fn hostile() -> Self {
        Self {
            spurious_readiness: 0.2,
            split_readiness: 0.3,
            delayed_readiness: 0.1,
            small_batches: 0.3,
            stale_readiness: 0.3,
            shuffled: 0.7,
            short_read: 0.3,
            short_write: 0.3,
            would_block: 0.1,
            interrupted: 0.1,
            small_buffers: 0.3,
            small_segments: 0.2,
            fin_with_data: 0.7,
            latency_spike: 0.05,
            latency_spike_max: Duration::from_millis(500),
            reset: 0.005,
            reset_discards: 0.5,
            refused: 0.05,
            lost_connect: 0.05,
            unreachable: 0.03,
            overbooked_backlog: 0.5,
            no_descriptor: 0.05,
            failed_registration: 0.02,
            aborted_accept: 0.05,
            delayed_wake: 0.5,
            late_turn: 0.1,
        }
    }

    /// The regime of a seed. Of eight seeds one is calm, two are as hostile as it gets, three have one fault that
    /// dominates, and in two everything has a probability of its own.
    pub fn drawn(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed_fa17);
        let (mut faults, kind) = (Self::calm(), random.below(8));
        match kind {
            0 => {}
            1 | 2 => faults = Self::hostile(),
            3..=5 => {
                let mut all = faults.probabilities();
                let dominant = random.below(all.len() as u64) as usize;
                let (field, most) = &mut all[dominant];
                **field = *most * (0.5 + random.unit() / 2.0);
            }
            _ => {
                for (field, most) in faults.probabilities() {
                    if random.chance(0.6) {
                        *field = most * random.unit() * random.unit();
                    }
                }
            }
        }
        faults
    }

    /// The same without what ends connections or keeps them from being made: everything that is sent arrives in the end.
    pub fn lossless(self) -> Self {
        Self {
            reset: 0.0,
            refused: 0.0,
            unreachable: 0.0,
            overbooked_backlog: 0.0,
            no_descriptor: 0.0,
            failed_registration: 0.0,
            aborted_accept: 0.0,
            ..self
        }
    }

    /// Every probability, with the most that leaves a world in which something can still be done.
    fn probabilities(&mut self) -> [(&mut f64, f64); 25] {
        [
            (&mut self.spurious_readiness, 0.9),
            (&mut self.split_readiness, 1.0),
            (&mut self.delayed_readiness, 0.8),
            (&mut self.small_batches, 1.0),
            (&mut self.stale_readiness, 1.0),
            (&mut self.shuffled, 1.0),
            (&mut self.short_read, 0.95),
            (&mut self.short_write, 0.95),
            (&mut self.would_block, 0.8),
            (&mut self.interrupted, 0.8),
            (&mut self.small_buffers, 1.0),
            (&mut self.small_segments, 0.9),
            (&mut self.fin_with_data, 1.0),
            (&mut self.latency_spike, 0.5),
            (&mut self.reset, 0.1),
            (&mut self.reset_discards, 1.0),
            (&mut self.refused, 0.5),
            (&mut self.lost_connect, 0.5),
            (&mut self.unreachable, 0.5),
            (&mut self.overbooked_backlog, 1.0),
            (&mut self.no_descriptor, 0.5),
            (&mut self.failed_registration, 0.3),
            (&mut self.aborted_accept, 0.5),
            (&mut self.delayed_wake, 1.0),
            (&mut self.late_turn, 0.9),
        ]
    }
}

/// What the simulated world has done so far, so that a test can tell what it was a test of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Happened {
    /// Connections that were established.
    pub established: u64,
    /// Segments of data that arrived.
    pub segments: u64,
    /// Ends of stream that were reported together with data still to be read.
    pub fin_with_data: u64,
    /// Reports for sockets that had nothing to report.
    pub spurious_readiness: u64,
    /// Reports that came in two.
    pub split_readiness: u64,
    /// Reports that came later.
    pub delayed_readiness: u64,
    /// Waits that handed out several reports in an order drawn by lot.
    pub shuffled: u64,
    /// Waits that handed out less than there was.
    pub small_batches: u64,
    /// Reports with the key of a socket that was closed.
    pub stale_readiness: u64,
    /// Reads that returned less than there was.
    pub short_reads: u64,
    /// Writes that took less than there was room for.
    pub short_writes: u64,
    /// Calls that would have blocked and need not have.
    pub would_blocks: u64,
    /// Writes that found the kernel's buffer full.
    pub full_buffers: u64,
    /// Calls and waits that were interrupted.
    pub interrupted: u64,
    /// Segments that took longer than the link says.
    pub latency_spikes: u64,
    /// Connections reset by the network.
    pub resets: u64,
    /// Resets that took unread data with them.
    pub resets_discarding: u64,
    /// Data that arrived at a socket already closed, and was answered with a reset.
    pub data_after_close: u64,
    /// Sockets closed with something unread, and so reset.
    pub closed_unread: u64,
    /// Attempts to connect that were refused.
    pub refused: u64,
    /// Attempts to connect that found the backlog full.
    pub full_backlogs: u64,
    /// Attempts to connect to where no way leads.
    pub unreachable: u64,
    /// Connections that were complete and found no place in the backlog, each time that they asked for one.
    pub overbooked_backlogs: u64,
    /// Attempts to connect that were lost on the way.
    pub lost_connects: u64,
    /// Connections made by two ends that dialled each other, or by one that dialled itself.
    pub simultaneous_opens: u64,
    /// Accepts and dials that made a process run out of descriptors or memory.
    pub no_descriptor: u64,
    /// Sockets that could not be registered.
    pub failed_registrations: u64,
    /// Accepts of a connection that was given up.
    pub aborted_accepts: u64,
    /// Wakes that came later.
    pub delayed_wakes: u64,
    /// Turns that came later.
    pub late_turns: u64,
    /// Segments kept back by a partition or a machine that was down.
    pub held: u64,
    /// Processes that crashed.
    pub crashes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_rules_some_of_the_seeds_that_ci_runs() {
        let mut strongest = [0.0_f64; 25];
        let mut calm = 0;
        for seed in 0..300 {
            let mut faults = Faults::drawn(seed);
            calm += usize::from(faults == Faults::calm());
            for (strongest, (drawn, most)) in strongest.iter_mut().zip(faults.probabilities()) {
                assert!((0.0..=most).contains(drawn));
                *strongest = strongest.max(*drawn / most);
            }
        }
        assert!((20..60).contains(&calm), "{calm} calm worlds");
        let weak = strongest.iter().position(|share| *share < 0.5);
        assert_eq!(weak, None, "{strongest:?}");
    }
}
