//! What the library promises, compared with what is.

mod awake;
mod bytes;
mod tracked;

use self::awake::{check_awake, check_listeners};
use self::bytes::{check_received, check_sent};
use self::tracked::check_tracked;
pub(super) use self::tracked::tracked;
use crate::connection::{ConnEntry, Ending, Lifecycle};
use crate::event_loop::LoopState;
use crate::framing::Codec;
use crate::id::{ConnId, Direction};
use crate::net::{Due, Net};
use crate::sys::sim::{Internet, SocketId};
use crate::traffic::Traffic;

use super::ledger::Ledger;

/// What it may cost to keep the one frame by which a queue may pass its cap: the entries of the chain, and the tracking.
/// Beside that, an entry for every block of 256 KiB.
const OVERHEAD_MAX: usize = 1024;

/// A connection, to be compared with its other end.
pub(super) struct Connection {
    pub(super) conn: ConnId,
    pub(super) socket: SocketId,
    pub(super) is_open: bool,
    pub(super) queued: usize,
    pub(super) stashed: usize,
    pub(super) traffic: Traffic,
    /// How it tells messages apart, where messages are the same at both ends.
    pub(super) framing: Option<Codec>,
}

pub(super) fn connections(state: &LoopState, net: &Net) -> Vec<Connection> {
    let connection = |(conn, entry): (ConnId, &ConnEntry)| {
        let inbound = state.view(conn)?;
        Some(Connection {
            conn,
            socket: inbound.socket,
            is_open: entry.lifecycle() == Lifecycle::Open,
            queued: entry.queued(),
            stashed: inbound.partial.len(),
            traffic: entry.traffic,
            framing: match entry.codec {
                Codec::Raw | Codec::Custom(_) => None,
                _ => Some(Codec::new(&entry.profile.framing)),
            },
        })
    };
    net.conns.iter().filter_map(connection).collect()
}

/// Checks one node after its turn. `is_busy`: it wants another turn at once, for what it has not got round to.
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
    // Who is overdue and has sent something that no budget has got round to is judged after that.
    // Who has stopped keeps none.
    let has_stopped = net.stopping.is_some_and(|it| it.begun) && net.conns.len() == 0;
    let is_late = net.deadlines.next().is_some_and(|at| at < net.now);
    if is_late && !is_busy && !has_stopped {
        return Err("a deadline is overdue after a turn".to_owned());
    }
    check_slots(net, ledger)?;
    check_deadlines(net)?;
    check_loop_cap(net)?;
    for (conn, entry) in net.conns.iter() {
        check_peer(net, conn, entry, is_busy)?;
        let Some(inbound) = state.view(conn) else {
            continue;
        };
        let Some(view) = internet.view(inbound.socket) else {
            continue;
        };
        if let Some((undelivered, passed)) = internet.undelivered(inbound.socket) {
            if ledger.live.contains(&conn) {
                check_sent(conn, entry, &inbound, view.written, passed)?;
                check_received(conn, entry, &inbound, undelivered, passed)?;
            }
        }
        if !is_busy {
            check_awake(conn, entry, &inbound, &view)?;
        }
        if matches!(entry.lifecycle(), Lifecycle::Closing(_)) {
            internet.forget_undelivered(inbound.socket);
        }
    }
    if is_busy {
        return Ok(());
    }
    check_listeners(net, internet)
}

/// Every connection was reported once, and every dial has one outcome.
fn check_callbacks(net: &Net, ledger: &Ledger) -> Result<(), String> {
    let (mut reported, mut connects) = (0, 0);
    for (conn, entry) in net.conns.iter() {
        let is_reported = match entry.lifecycle() {
            Lifecycle::Open
            | Lifecycle::Closing(Ending::Disconnected(_))
            | Lifecycle::Ended(Ending::Disconnected(_)) => true,
            Lifecycle::Connecting
            | Lifecycle::Handshaking
            | Lifecycle::Closing(Ending::Failed(_))
            | Lifecycle::Ended(Ending::Failed(_)) => {
                connects += u64::from(entry.direction() == Direction::Outbound);
                false
            }
            Lifecycle::Released => continue,
        };
        if is_reported != ledger.live.contains(&conn) {
            let state = entry.lifecycle();
            return Err(format!(
                "{conn} is {state:?}, and on_connect was called without on_disconnect: {}",
                !is_reported
            ));
        }
        reported += usize::from(is_reported);
    }
    if reported != ledger.live.len() {
        return Err("a connection is gone without on_disconnect".to_owned());
    }
    let outcomes = ledger.connects_established + ledger.connects_failed + connects;
    if net.metrics.connects_started != outcomes {
        let asked = net.metrics.connects_started;
        return Err(format!("{asked} dials, but {outcomes} outcomes"));
    }
    let counted = (net.metrics.disconnected, net.metrics.connects_failed);
    if counted != (ledger.disconnected, ledger.connects_failed) {
        let reported = (ledger.disconnected, ledger.connects_failed);
        return Err(format!(
            "{counted:?} ends are counted, but {reported:?} were reported"
        ));
    }
    Ok(())
}

/// Limits, counts and queues equal a recount.
fn check_counts(net: &Net) -> Result<(), String> {
    net.limits
        .lock()
        .recount(net.conns.iter().map(|(_, entry)| entry))?;
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
            "{} connections and {} dials are counted, but there are {open} and {connecting}",
            net.connection_count(),
            net.connecting_count(),
        ));
    }
    let queued: usize = net.conns.iter().map(|(_, entry)| entry.queue_cost()).sum();
    if net.metrics.queued != queued {
        let counted = net.metrics.queued;
        return Err(format!(
            "{counted} bytes queued are counted, but there are {queued}"
        ));
    }
    Ok(())
}

/// A slot whose connection ended in this turn is nobody else's before the next.
fn check_slots(net: &Net, ledger: &Ledger) -> Result<(), String> {
    let ended = &ledger.ended_in_turn;
    let reused = net.conns.iter().find(|(conn, _)| {
        let is_of_slot =
            |slots_to_free: &ConnId| slots_to_free.slot() == conn.slot() && slots_to_free != conn;
        ended.iter().any(is_of_slot)
    });
    match reused {
        Some((conn, _)) => Err(format!(
            "{conn} has the slot of one that ended in this turn"
        )),
        None => Ok(()),
    }
}

/// No deadline is kept for a connection that is not.
fn check_deadlines(net: &Net) -> Result<(), String> {
    let is_stale = |due: &&Due| match due {
        Due::Connection(conn) => !net.conns.get(*conn).is_some_and(ConnEntry::is_live),
        Due::Timer(_) | Due::Listener(_) | Due::Shutdown | Due::Retry => false,
    };
    match net.deadlines.keys().find(is_stale) {
        Some(due) => Err(format!("a deadline is kept for nobody: {due:?}")),
        None => Ok(()),
    }
}

/// What all queues together may hold: the cap, or the one frame that is always taken, and what it costs to keep that.
fn check_loop_cap(net: &Net) -> Result<(), String> {
    let conns = || net.conns.iter().map(|(_, entry)| entry);
    let beyond = conns().map(frame_max).max().unwrap_or(0);
    // While all queues are empty any legal frame is taken; then it is alone, but for the last words of sessions.
    let is_shared = conns()
        .filter(|entry| entry.queue_cost() > OVERHEAD_MAX)
        .count()
        > 1;
    let frame = conns().map(|entry| entry.profile.max_frame).max();
    let frame = frame.filter(|_| !is_shared).unwrap_or(0);
    let cap = net.config.loop_queue_max.max(frame);
    let most = cap + beyond + cap / 1024 + conns().count() * OVERHEAD_MAX;
    if net.metrics.queued > most {
        let queued = net.metrics.queued;
        return Err(format!(
            "all queues together hold {queued} bytes, more than {most}"
        ));
    }
    Ok(())
}

/// By how much one frame may pass a cap: not at all where its length is known before it is made.
fn frame_max(entry: &ConnEntry) -> usize {
    match entry.codec {
        Codec::Custom(_) => entry.profile.max_frame,
        _ => 0,
    }
}

fn check_peer(net: &Net, conn: ConnId, entry: &ConnEntry, is_busy: bool) -> Result<(), String> {
    let profile = &entry.profile;
    // On an empty queue any legal frame is taken.
    let cap = profile.queue_max.max(profile.max_frame);
    let most = cap + frame_max(entry) + profile.max_frame / 1024 + OVERHEAD_MAX;
    if entry.queue_cost() > most {
        let cost = entry.queue_cost();
        return Err(format!("{conn} has queued {cost} bytes, more than {most}"));
    }
    if !entry.is_live() {
        return Ok(());
    }
    if !is_busy && entry.can_send() && entry.is_owed_a_drain() {
        return Err(format!("{conn} is owed a drain"));
    }
    match entry.due() {
        Some((_, ending)) if is_busy && ending.is_for_silence() => Ok(()),
        Some((at, ending)) if at < net.now => Err(format!(
            "{conn} is overdue by {:?}: {ending:?}",
            net.now - at
        )),
        Some((_, ending)) if entry.deadline().is_none() => {
            Err(format!("nobody looks at {conn}, which is due: {ending:?}"))
        }
        _ => Ok(()),
    }
}
