//! The guarantees of the library, checked after each turn of a node.

mod awake;
mod bytes;
mod datagrams;
mod limits;
mod tracked;

use std::time::Instant;

use self::awake::{check_awake, check_headers, check_listeners};
use self::bytes::{check_received, check_sent};
use self::datagrams::check_datagrams;
use self::limits::check_limits;
use self::tracked::check_tracked;
pub(super) use self::tracked::tracked;
use crate::connection::{ConnEntry, Ending, Lifecycle};
use crate::event_loop::LoopState;
use crate::framing::Codec;
use crate::id::ConnId;
use crate::net::{Due, Net};
use crate::sys::sim::{Internet, SocketId};
use crate::time::Timestamp;
use crate::traffic::Traffic;

use super::ledger::Ledger;

/// Maximum overhead of the one frame by which a queue may exceed its limit, in
/// bytes: entries of the chain, and tracking. An entry per small block comes in
/// addition, which is at most a 32nd of the frame.
const OVERHEAD_MAX: usize = 1024;

/// A connection, for comparison with its other end.
pub(super) struct CheckedConnection {
    pub(super) conn: ConnId,
    pub(super) socket: SocketId,
    pub(super) is_open: bool,
    pub(super) queued: usize,
    /// Number of bytes of an incomplete message.
    pub(super) partial: usize,
    pub(super) traffic: Traffic,
    /// Its framing, if messages have the same boundaries at both ends.
    pub(super) framing: Option<Codec>,
}

pub(super) fn connections(state: &LoopState, net: &Net) -> Vec<CheckedConnection> {
    let connection = |(conn, entry): (ConnId, &ConnEntry)| {
        let inbound = state.view(net, conn)?;
        Some(CheckedConnection {
            conn,
            socket: inbound.socket,
            is_open: entry.lifecycle() == Lifecycle::Open,
            queued: entry.queued_bytes(),
            partial: inbound.partial.len(),
            traffic: entry.traffic,
            framing: match entry.codec {
                Codec::Raw | Codec::Custom(_) => None,
                _ => Some(Codec::new(&entry.config.framing)),
            },
        })
    };
    net.conns.iter().filter_map(connection).collect()
}

/// Checks one node after its turn. `is_busy` means that a budget ended the
/// turn, so that another one follows at once.
pub(super) fn check(
    state: &LoopState,
    net: &Net,
    ledger: &Ledger,
    internet: &mut Internet,
    is_busy: bool,
) -> Result<(), String> {
    check_callbacks(net, ledger)?;
    check_counts(net)?;
    check_tracked(state, net, ledger)?;
    // A busy node handles a timeout only after it has read the input of the
    // peer. A stopped node handles no timeout.
    let has_stopped = net.stopping.is_some_and(|it| it.begun) && net.conns.len() == 0;
    let is_late = net.timers.next().is_some_and(|at| at < net.now);
    if is_late && !is_busy && !has_stopped {
        return Err("a deadline is overdue after a turn".to_owned());
    }
    check_slots(net, ledger)?;
    check_deadlines(net)?;
    check_loop_cap(net)?;
    for (conn, entry) in net.conns.iter() {
        check_connection(net, conn, entry, is_busy)?;
        let Some(inbound) = state.view(net, conn) else {
            continue;
        };
        let Some(view) = internet.inspect(inbound.socket) else {
            continue;
        };
        if let Some((undelivered, passed)) = internet.undelivered(inbound.socket) {
            if ledger.live.contains(&conn) {
                check_sent(conn, entry, &inbound, view.written, passed)?;
                check_received(conn, entry, &inbound, undelivered, passed)?;
            }
        }
        let is_ready = view.is_established || view.is_broken;
        if !is_ready && !matches!(entry.lifecycle(), Lifecycle::Connecting) {
            return Err(format!("{conn} counts as connected: {view:?}"));
        }
        if !is_busy {
            check_awake(conn, entry, &inbound, &view)?;
        }
        if matches!(entry.lifecycle(), Lifecycle::Closing(_)) {
            internet.forget_undelivered(inbound.socket);
        }
    }
    check_datagrams(net, internet, is_busy)?;
    if is_busy {
        return Ok(());
    }
    check_headers(net, internet)?;
    check_listeners(net, internet)
}

/// Checks that the last reading of the clock was after the last callback,
/// because timeouts and timers of a turn count from its end.
pub(super) fn check_clock(net: &Net, ended: Instant) -> Result<(), String> {
    let latest = net.timestamp().instant(net.epoch);
    if latest == ended {
        return Ok(());
    }
    let early = ended.saturating_duration_since(latest);
    Err(format!(
        "the last reading of the clock was {early:?} before the end of the turn"
    ))
}

/// Checks that each connection is reported once, and that each attempt to
/// connect has one outcome.
fn check_callbacks(net: &Net, ledger: &Ledger) -> Result<(), String> {
    let (mut reported, mut pending) = (0, 0);
    for (conn, entry) in net.conns.iter() {
        let is_reported = match entry.lifecycle() {
            Lifecycle::Open
            | Lifecycle::Closing(Ending::Disconnected(_))
            | Lifecycle::Ended(Ending::Disconnected(_)) => true,
            Lifecycle::Connecting
            | Lifecycle::Handshaking
            | Lifecycle::Closing(Ending::Failed(_))
            | Lifecycle::Ended(Ending::Failed(_)) => {
                pending += 1;
                false
            }
            Lifecycle::Released => continue,
        };
        if is_reported != ledger.live.contains(&conn) {
            let state = entry.lifecycle();
            return Err(format!(
                "{conn} is {state:?}, but on_connect without on_disconnect was called: {}",
                !is_reported
            ));
        }
        reported += usize::from(is_reported);
    }
    if reported != ledger.live.len() {
        return Err("a connection ended without on_disconnect".to_owned());
    }
    let outcomes = ledger.connected + ledger.failed + pending;
    let begun = net.metrics.connects_started + net.metrics.accepted;
    if begun != outcomes {
        return Err(format!("{begun} connections, but {outcomes} outcomes"));
    }
    let counted = (net.metrics.disconnected, net.metrics.connects_failed);
    if counted != (ledger.disconnected, ledger.failed_outbound) {
        let reported = (ledger.disconnected, ledger.failed_outbound);
        return Err(format!(
            "{counted:?} ends are counted, but {reported:?} were reported"
        ));
    }
    Ok(())
}

/// Checks limits, counters and queues against a recount.
fn check_counts(net: &Net) -> Result<(), String> {
    let entries = net.conns.iter().map(|(_, entry)| entry);
    check_limits(&net.limits.lock(), entries, net.headers.len())?;
    let in_state = |state| {
        let conns = net.conns.iter();
        conns
            .filter(|(_, entry)| entry.lifecycle() == state)
            .count()
    };
    let (open, connecting) = (
        in_state(Lifecycle::Open),
        in_state(Lifecycle::Connecting) + in_state(Lifecycle::Handshaking),
    );
    if (net.connection_count(), net.connecting_count()) != (open, connecting) {
        return Err(format!(
            "{} connections and {} connecting are counted, but there are {open} and {connecting}",
            net.connection_count(),
            net.connecting_count(),
        ));
    }
    let entries = net.conns.iter().map(|(_, entry)| entry);
    let held = entries.map(ConnEntry::send_charge).sum::<usize>() + net.pool.bodies.bytes();
    let charged = net.pool.account.used();
    if charged != held {
        return Err(format!(
            "{charged} bytes are charged for sending, but {held} are held"
        ));
    }
    Ok(())
}

/// Checks that a slot whose connection ended in this turn is not reused before
/// the next turn.
fn check_slots(net: &Net, ledger: &Ledger) -> Result<(), String> {
    let ended = &ledger.ended_in_turn;
    let reused = net.conns.iter().find(|(conn, _)| {
        let is_of_slot = |ended: &ConnId| ended.slot() == conn.slot() && ended != conn;
        ended.iter().any(is_of_slot)
    });
    match reused {
        Some((conn, _)) => Err(format!(
            "{conn} has the slot of a connection that ended in this turn"
        )),
        None => Ok(()),
    }
}

/// Checks that no timer is set for a connection that has ended.
fn check_deadlines(net: &Net) -> Result<(), String> {
    let is_stale = |due: &&Due| match due {
        Due::Connection(conn)
        | Due::ConnTimer(conn, _)
        | Due::Session(conn)
        | Due::Connect(conn)
        | Due::Tokens(conn, _) => !net.conns.get(*conn).is_some_and(ConnEntry::is_live),
        Due::Header(conn) => !net.headers.contains(*conn),
        Due::Timer(_) | Due::Interval(_) | Due::Listener(_) | Due::Shutdown | Due::CommandRetry => {
            false
        }
    };
    match net.timers.keys().find(is_stale) {
        Some(due) => Err(format!("a timer is set for no connection: {due:?}")),
        None => Ok(()),
    }
}

/// Checks that the memory for sending is within the limit, or is that of the
/// one frame that is always accepted. Frames of custom framers and the output
/// of sessions are charged once they exist.
fn check_loop_cap(net: &Net) -> Result<(), String> {
    let conns = || net.conns.iter().map(|(_, entry)| entry);
    let frame = conns().map(|entry| entry.config.max_message_len).max();
    // A frame takes blocks that are larger than it, and its sealed form.
    let frame = 3 * frame.unwrap_or(0) + 4 * OVERHEAD_MAX;
    let beyond = 2 * conns().map(frame_max).max().unwrap_or(0);
    let output: usize = conns().map(ConnEntry::session_charge).sum();
    let most = net.config.limits.loop_send_bytes.max(frame) + beyond + output;
    let used = net.pool.account.used();
    if used > most {
        return Err(format!(
            "{used} bytes are charged for sending, more than {most}"
        ));
    }
    Ok(())
}

/// Returns by how much one frame may exceed a limit. It is zero where the
/// length of a frame is known before it is encoded.
fn frame_max(entry: &ConnEntry) -> usize {
    match entry.codec {
        Codec::Custom(_) => entry.config.max_message_len,
        _ => 0,
    }
}

fn check_connection(
    net: &Net,
    conn: ConnId,
    entry: &ConnEntry,
    is_busy: bool,
) -> Result<(), String> {
    let config = &entry.config;
    // An empty queue accepts any frame of a valid length.
    let cap = config.send_queue.max_bytes.max(config.max_message_len);
    let most = cap + frame_max(entry) + config.max_message_len / 32 + OVERHEAD_MAX;
    if entry.queue_cost() > most {
        let cost = entry.queue_cost();
        return Err(format!("{conn} has queued {cost} bytes, more than {most}"));
    }
    if !entry.is_live() {
        return Ok(());
    }
    if !is_busy && entry.can_send() && entry.is_owed_a_drain() {
        return Err(format!("{conn} is owed an on_drain"));
    }
    // A timeout that became due during the turn is handled in the next turn, and
    // so is one that has passed already because `set_timeouts` made it shorter.
    let began = Timestamp::new(net.now, net.epoch);
    match entry.due() {
        Some((_, ending)) if is_busy && ending.is_for_silence() => Ok(()),
        Some(_) if entry.is_armed_within(began, net.timestamp()) => Ok(()),
        Some((at, ending)) if at < began && !net.is_delayed(conn) => Err(format!(
            "{conn} is overdue by {:?}: {ending:?}",
            net.now - at.instant(net.epoch)
        )),
        Some((_, ending)) if entry.deadline().is_none() && !net.is_delayed(conn) => Err(format!(
            "no deadline is set for {conn}, which is due: {ending:?}"
        )),
        _ => Ok(()),
    }
}
