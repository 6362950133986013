//! What the library promises, compared with what is.

mod awake;
mod bytes;
mod tracked;

use self::awake::{check_awake, check_listeners};
use self::bytes::{check_received, check_sent};
use self::tracked::check_tracked;
pub(super) use self::tracked::tracked;
use crate::framing::Codec;
use crate::id::{ConnId, Side};
use crate::net::{Due, Net};
use crate::network::sim::{Internet, SocketId};
use crate::peer::{Ending, Peer, State};
use crate::stats::Traffic;
use crate::turn::Core;

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

pub(super) fn connections(core: &Core, net: &Net) -> Vec<Connection> {
    let connection = |(conn, peer): (ConnId, &Peer)| {
        let inbound = core.view(conn)?;
        Some(Connection {
            conn,
            socket: inbound.socket,
            is_open: peer.inner_state() == State::Open,
            queued: peer.queued(),
            stashed: inbound.stash.len(),
            traffic: peer.traffic,
            framing: match peer.codec {
                Codec::Raw | Codec::Custom(_) => None,
                _ => Some(Codec::new(&peer.profile.framing)),
            },
        })
    };
    net.peers.iter().filter_map(connection).collect()
}

/// Checks one node after its turn. `is_busy`: it wants another turn at once, for what it has not got round to.
pub(super) fn check(
    core: &Core,
    net: &Net,
    ledger: &Ledger,
    internet: &mut Internet,
    is_busy: bool,
) -> Result<(), String> {
    check_callbacks(net, ledger)?;
    check_counts(net)?;
    check_tracked(core, net, ledger)?;
    // Who is overdue and has sent something that no budget has got round to is judged after that.
    // Who has stopped keeps none.
    let has_stopped = net.stopping.is_some_and(|it| it.begun) && net.peers.len() == 0;
    let is_late = net.deadlines.next().is_some_and(|at| at < net.now);
    if is_late && !is_busy && !has_stopped {
        return Err("a deadline is overdue after a turn".to_owned());
    }
    check_slots(net, ledger)?;
    check_deadlines(net)?;
    check_loop_cap(net)?;
    for (conn, peer) in net.peers.iter() {
        check_peer(net, conn, peer, is_busy)?;
        let Some(inbound) = core.view(conn) else {
            continue;
        };
        let Some(view) = internet.view(inbound.socket) else {
            continue;
        };
        if let Some((undelivered, passed)) = internet.undelivered(inbound.socket) {
            if ledger.live.contains(&conn) {
                check_sent(conn, peer, &inbound, view.written, passed)?;
                check_received(conn, peer, &inbound, undelivered, passed)?;
            }
        }
        if !is_busy {
            check_awake(conn, peer, &inbound, &view)?;
        }
        if matches!(peer.inner_state(), State::Closing(_)) {
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
    let (mut reported, mut dials) = (0, 0);
    for (conn, peer) in net.peers.iter() {
        let is_reported = match peer.inner_state() {
            State::Open
            | State::Closing(Ending::Disconnected(_))
            | State::Ended(Ending::Disconnected(_)) => true,
            State::Connecting
            | State::Handshaking
            | State::Closing(Ending::Failed(_))
            | State::Ended(Ending::Failed(_)) => {
                dials += u64::from(peer.side() == Side::Initiator);
                false
            }
            State::Gone => continue,
        };
        if is_reported != ledger.live.contains(&conn) {
            let state = peer.inner_state();
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
    let outcomes = ledger.dials_connected + ledger.dials_failed + dials;
    if net.metrics.dialled != outcomes {
        let asked = net.metrics.dialled;
        return Err(format!("{asked} dials, but {outcomes} outcomes"));
    }
    let counted = (net.metrics.disconnected, net.metrics.dials_failed);
    if counted != (ledger.disconnected, ledger.dials_failed) {
        let reported = (ledger.disconnected, ledger.dials_failed);
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
        .recount(net.peers.iter().map(|(_, peer)| peer))?;
    let in_state = |state| {
        let peers = net.peers.iter();
        peers
            .filter(|(_, peer)| peer.inner_state() == state)
            .count()
    };
    let (open, connecting) = (
        in_state(State::Open),
        in_state(State::Connecting) + in_state(State::Handshaking),
    );
    if (net.connection_count(), net.connecting_count()) != (open, connecting) {
        return Err(format!(
            "{} connections and {} dials are counted, but there are {open} and {connecting}",
            net.connection_count(),
            net.connecting_count(),
        ));
    }
    let queued: usize = net.peers.iter().map(|(_, peer)| peer.queue_cost()).sum();
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
    let reused = net.peers.iter().find(|(conn, _)| {
        let is_of_slot = |gone: &ConnId| gone.slot() == conn.slot() && gone != conn;
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
        Due::Connection(conn) => !net.peers.get(*conn).is_some_and(Peer::is_live),
        Due::Timer(_) | Due::Listener(_) | Due::Shutdown | Due::Retry => false,
    };
    match net.deadlines.keys().find(is_stale) {
        Some(due) => Err(format!("a deadline is kept for nobody: {due:?}")),
        None => Ok(()),
    }
}

/// What all queues together may hold: the cap, or the one frame that is always taken, and what it costs to keep that.
fn check_loop_cap(net: &Net) -> Result<(), String> {
    let peers = || net.peers.iter().map(|(_, peer)| peer);
    let beyond = peers().map(frame_max).max().unwrap_or(0);
    // While all queues are empty any legal frame is taken; then it is alone, but for the last words of sessions.
    let is_shared = peers()
        .filter(|peer| peer.queue_cost() > OVERHEAD_MAX)
        .count()
        > 1;
    let frame = peers().map(|peer| peer.profile.max_frame).max();
    let frame = frame.filter(|_| !is_shared).unwrap_or(0);
    let cap = net.config.loop_queue_max.max(frame);
    let most = cap + beyond + cap / 1024 + peers().count() * OVERHEAD_MAX;
    if net.metrics.queued > most {
        let queued = net.metrics.queued;
        return Err(format!(
            "all queues together hold {queued} bytes, more than {most}"
        ));
    }
    Ok(())
}

/// By how much one frame may pass a cap: not at all where its length is known before it is made.
fn frame_max(peer: &Peer) -> usize {
    match peer.codec {
        Codec::Custom(_) => peer.profile.max_frame,
        _ => 0,
    }
}

fn check_peer(net: &Net, conn: ConnId, peer: &Peer, is_busy: bool) -> Result<(), String> {
    let profile = &peer.profile;
    // On an empty queue any legal frame is taken.
    let cap = profile.queue_max.max(profile.max_frame);
    let most = cap + frame_max(peer) + profile.max_frame / 1024 + OVERHEAD_MAX;
    if peer.queue_cost() > most {
        let cost = peer.queue_cost();
        return Err(format!("{conn} has queued {cost} bytes, more than {most}"));
    }
    if !peer.is_live() {
        return Ok(());
    }
    if !is_busy && peer.can_send() && peer.is_owed_a_drain() {
        return Err(format!("{conn} is owed a drain"));
    }
    match peer.due() {
        Some((_, ending)) if is_busy && ending.is_for_silence() => Ok(()),
        Some((at, ending)) if at < net.now => Err(format!(
            "{conn} is overdue by {:?}: {ending:?}",
            net.now - at
        )),
        Some((_, ending)) if peer.deadline().is_none() => {
            Err(format!("nobody looks at {conn}, which is due: {ending:?}"))
        }
        _ => Ok(()),
    }
}
