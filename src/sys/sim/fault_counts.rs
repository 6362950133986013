//! The counters of the faults of a simulated world.

/// Counts of the faults of a simulated world, and of some other events. A test
/// asserts with them that the faults it is about have happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FaultCounts {
    /// Connections that were established.
    pub established: u64,
    /// Segments of data that arrived.
    pub segments: u64,
    /// Ends of stream that were reported together with data still to be read.
    pub fin_with_data: u64,
    /// Reports for sockets that were not ready.
    pub spurious_readiness: u64,
    /// Reports that came in two parts.
    pub split_readiness: u64,
    /// Reports that came later.
    pub delayed_readiness: u64,
    /// Waits that returned several reports in random order.
    pub shuffled: u64,
    /// Waits that returned fewer reports than there were.
    pub small_batches: u64,
    /// Reports with the key of a closed socket.
    pub stale_readiness: u64,
    /// Reads that returned less than was available.
    pub short_reads: u64,
    /// Writes that accepted less than there was room for.
    pub short_writes: u64,
    /// Calls that failed with `WouldBlock` without need.
    pub would_blocks: u64,
    /// Writes that found the kernel's buffer full.
    pub full_buffers: u64,
    /// Calls and waits that were interrupted.
    pub interrupted: u64,
    /// Segments whose latency was longer than that of the link.
    pub latency_spikes: u64,
    /// Connections reset by the network.
    pub resets: u64,
    /// Resets that discarded unread data.
    pub resets_discarding: u64,
    /// Segments of data that arrived at a closed socket and were answered with
    /// a reset.
    pub data_after_close: u64,
    /// Sockets closed with unread data, and so reset.
    pub closed_unread: u64,
    /// Attempts to connect that were refused.
    pub refused: u64,
    /// Attempts to connect that found the backlog full.
    pub full_backlogs: u64,
    /// Attempts to connect without a route.
    pub unreachable: u64,
    /// Complete handshakes that found no place in the backlog, counted at each
    /// attempt.
    pub overbooked_backlogs: u64,
    /// Attempts to connect whose first segment was lost.
    pub lost_connects: u64,
    /// Connections between two ends that connected to each other, or of one end
    /// that connected to itself.
    pub simultaneous_opens: u64,
    /// Accepts and attempts to connect at which a process ran out of file
    /// descriptors or memory.
    pub no_descriptor: u64,
    /// Sockets that could not be registered.
    pub failed_registrations: u64,
    /// Accepts of a connection that was aborted.
    pub aborted_accepts: u64,
    /// Wakes that came later.
    pub delayed_wakes: u64,
    /// Turns that came later.
    pub late_turns: u64,
    /// Callbacks that took time because of a fault.
    pub slow_callbacks: u64,
    /// Segments that did not arrive because of a partition or a machine that
    /// was down.
    pub held: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Datagrams that arrived.
    pub datagrams: u64,
    /// Datagrams that a fault has lost.
    pub lost_datagrams: u64,
    /// Datagrams that arrived twice.
    pub duplicated_datagrams: u64,
    /// Datagrams that came later than others.
    pub reordered_datagrams: u64,
    /// Datagrams lost because of a partition or a machine that was down.
    pub cut_datagrams: u64,
    /// Datagrams lost because the receive buffer was full.
    pub overflowed_datagrams: u64,
    /// Datagrams that arrived where no program receives.
    pub unreachable_ports: u64,
}
