//! The faults of a simulated world.

use std::time::Duration;

use super::random::Random;

/// The rates at which the simulated kernel and network do what real ones may
/// do.
///
/// Each fault is legal: a real poller, kernel or network may cause it. A field
/// of type `f64` is a probability, from 0 (never) to 1 (always). It is drawn
/// for each item that the first word of the description names.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Faults {
    /// Per wait: readiness is reported for a socket that is not ready.
    pub spurious_readiness: f64,
    /// Per report: readable and writable are reported separately.
    pub split_readiness: f64,
    /// Per report: the report comes a moment later. It is delayed at most once.
    pub delayed_readiness: f64,
    /// Per wait: a few reports are returned, and the others by the next wait.
    pub small_batches: f64,
    /// Per socket or listener closed: one more report with its token follows.
    pub stale_readiness: f64,
    /// Per wait, and per node that is due: the order is random.
    pub shuffled: f64,
    /// Per read: it returns less than is available, often a few bytes. The rest
    /// becomes visible a moment later.
    pub short_read: f64,
    /// Per write: it accepts less than there is room for, often a few bytes. In
    /// half of the cases the next write finds no room for a moment.
    pub short_write: f64,
    /// Per read, write and accept: it fails with `WouldBlock` without need. An
    /// edge follows a moment later.
    pub would_block: f64,
    /// Per read, write, accept and wait: it fails with `Interrupted`. The next
    /// wait returns the reports of an interrupted wait.
    pub interrupted: f64,
    /// Per connection: each of its kernel buffers holds between 1 and 4,096
    /// bytes.
    pub small_buffers: f64,
    /// Per piece of data sent: it travels as a segment of a few bytes.
    pub small_segments: f64,
    /// Per end of a stream: it arrives together with the last data.
    pub fin_with_data: f64,
    /// Per segment: its latency is longer by up to
    /// [`Faults::latency_spike_max`].
    pub latency_spike: f64,
    /// Maximum latency spike. Values over one minute count as one minute.
    /// Default: 500 ms.
    pub latency_spike_max: Duration,
    /// Per segment of data: the network resets the connection at any byte of
    /// the segment.
    pub reset: f64,
    /// Per reset: data that has arrived and was not read is lost, as on BSD.
    /// Linux keeps it.
    pub reset_discards: f64,
    /// Per attempt to connect: it is refused.
    pub refused: f64,
    /// Per attempt to connect: its first segment is lost. The kernel repeats
    /// the segment one second later.
    pub lost_connect: f64,
    /// Per attempt to connect: a router answers that there is no route (ICMP;
    /// EHOSTUNREACH or ENETUNREACH).
    pub unreachable: f64,
    /// Per attempt to connect that finds all places of the backlog promised: it
    /// is answered nevertheless. If no place becomes free, only the connecting
    /// end is connected. Its kernel detects that after about a minute (as on
    /// Linux with `tcp_syncookies`).
    pub overbooked_backlog: f64,
    /// Per accept and attempt to connect: the process or the system runs out of
    /// file descriptors or memory (EMFILE, ENFILE, ENOMEM) for up to three
    /// seconds.
    pub no_descriptor: f64,
    /// Per socket registered with a poller: the registration fails (ENOSPC, see
    /// epoll_ctl(2)).
    pub failed_registration: f64,
    /// Per accept: the connection was aborted in the meantime (ECONNABORTED).
    pub aborted_accept: f64,
    /// Per wake by a [`Handle`](crate::Handle): it comes up to 10 ms later.
    pub delayed_wake: f64,
    /// Per turn of a node: the system runs other programs first, so the turn
    /// comes up to 10 ms later.
    pub late_turn: f64,
    /// Per callback: it takes up to [`Faults::slow_callback_max`] of virtual
    /// time; see [`spend`](crate::sim::spend).
    pub slow_callback: f64,
    /// Maximum time of a slow callback. Default: 2 ms.
    pub slow_callback_max: Duration,
    /// Per host: its selector is
    /// [`Selector::Poll`](crate::sim::Selector::Poll). Drawn when the host is
    /// added.
    pub poll_selector: f64,
    /// Per host: its clock has a rate between 0.9 and 1.1. Drawn when the host
    /// is added.
    pub clock_drift: f64,
    /// Per datagram sent: it is lost.
    pub lost_datagram: f64,
    /// Per datagram sent: it arrives twice.
    pub duplicated_datagram: f64,
    /// Per datagram that arrives: it comes up to 50 ms later, so that later ones
    /// overtake it.
    pub reordered_datagram: f64,
    /// Per datagram that arrives where no program receives: the next call of
    /// its sender fails (ICMP; WSAECONNRESET on Windows).
    pub port_unreachable: f64,
}

impl Faults {
    /// Returns no faults: each probability is 0.
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
            slow_callback: 0.0,
            slow_callback_max: Duration::from_millis(2),
            poll_selector: 0.0,
            clock_drift: 0.0,
            lost_datagram: 0.0,
            duplicated_datagram: 0.0,
            reordered_datagram: 0.0,
            port_unreachable: 0.0,
        }
    }

    /// Returns all faults, often.
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
            slow_callback: 0.05,
            slow_callback_max: Duration::from_millis(2),
            poll_selector: 0.4,
            clock_drift: 0.5,
            lost_datagram: 0.1,
            duplicated_datagram: 0.1,
            reordered_datagram: 0.2,
            port_unreachable: 0.5,
        }
    }

    /// Returns the faults of a seed. Of eight seeds one has
    /// [`calm`](Faults::calm) faults, two have [`hostile`](Faults::hostile)
    /// faults, three have one dominant fault, and two have another probability
    /// for each fault.
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
        // These are drawn last, because they do not concern connections.
        if kind > 2 {
            for (field, most) in faults.datagram_probabilities() {
                if random.chance(0.4) {
                    *field = most * random.unit();
                }
            }
        }
        faults
    }

    /// Returns the probabilities that concern datagrams only; see
    /// [`Faults::probabilities`].
    fn datagram_probabilities(&mut self) -> [(&mut f64, f64); 4] {
        [
            (&mut self.lost_datagram, 0.7),
            (&mut self.duplicated_datagram, 0.9),
            (&mut self.reordered_datagram, 0.9),
            (&mut self.port_unreachable, 1.0),
        ]
    }

    /// Returns the same faults, but none that ends or prevents connections or
    /// loses datagrams, so that all messages arrive.
    pub fn lossless(self) -> Self {
        Self {
            reset: 0.0,
            refused: 0.0,
            unreachable: 0.0,
            overbooked_backlog: 0.0,
            no_descriptor: 0.0,
            failed_registration: 0.0,
            aborted_accept: 0.0,
            lost_datagram: 0.0,
            ..self
        }
    }

    /// Returns each probability, with the maximum at which a world still makes
    /// progress.
    fn probabilities(&mut self) -> [(&mut f64, f64); 28] {
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
            (&mut self.slow_callback, 0.5),
            (&mut self.poll_selector, 1.0),
            (&mut self.clock_drift, 1.0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_strong_in_some_seed_of_ci() {
        let mut strongest = [0.0_f64; 32];
        let mut calm = 0;
        for seed in 0..300 {
            let mut faults = Faults::drawn(seed);
            calm += usize::from(faults == Faults::calm());
            let mut others = faults.clone();
            let all = faults.probabilities().into_iter();
            let all = all.chain(others.datagram_probabilities());
            for (strongest, (drawn, most)) in strongest.iter_mut().zip(all) {
                assert!((0.0..=most).contains(drawn));
                *strongest = strongest.max(*drawn / most);
            }
        }
        assert!((20..60).contains(&calm), "{calm} calm worlds");
        let weak = strongest.iter().position(|share| *share < 0.5);
        assert_eq!(weak, None, "{strongest:?}");
    }
}
