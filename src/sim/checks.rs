//! What the library promises, compared with what is.

use crate::framing::Codec;
use crate::id::{ConnId, Side};
use crate::net::{Due, Net};
use crate::network::sim::{Internet, SocketId, View};
use crate::peer::{Ending, Peer, State};
use crate::stats::Traffic;
use crate::turn::{Core, InboundView};

use super::ledger::Ledger;

/// What a queue may hold beyond its cap beside one frame: what it costs to keep it.
const OVERHEAD_MAX: usize = 64 * 1024;

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
            stashed: inbound.stashed,
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
    internet: &Internet,
    is_busy: bool,
) -> Result<(), String> {
    check_callbacks(net, ledger)?;
    check_counts(net)?;
    check_tracked(core, net, ledger)?;
    // Who is overdue and has sent something that no budget has got round to is judged after that.
    if !is_busy && net.deadlines.next().is_some_and(|at| at < net.now) {
        return Err("a deadline is overdue after a turn".to_owned());
    }
    check_slots(net, ledger)?;
    check_deadlines(net)?;
    for (conn, peer) in net.peers.iter() {
        check_peer(net, conn, peer, is_busy)?;
        let Some(inbound) = core.view(conn) else {
            continue;
        };
        let Some(view) = internet.view(inbound.socket) else {
            continue;
        };
        if inbound.is_plain {
            check_bytes(conn, peer, &inbound, &view)?;
        }
        if inbound.is_transparent && !is_busy {
            check_awake(conn, peer, &view)?;
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
    Ok(())
}

/// Limits, counts and queues equal a recount.
fn check_counts(net: &Net) -> Result<(), String> {
    net.limits.recount(net.peers.iter().map(|(_, peer)| peer))?;
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

/// Every tracked send was answered, or will be.
fn check_tracked(core: &Core, net: &Net, ledger: &Ledger) -> Result<(), String> {
    let waiting: usize = net
        .peers
        .iter()
        .filter_map(|(_, peer)| peer.queue.as_ref())
        .map(|queue| queue.tracked())
        .sum();
    let owed = (waiting + core.answers_owed()) as u64;
    let (tracked, answered) = (net.metrics.sends_tracked, ledger.answered);
    if tracked != answered + owed {
        return Err(format!(
            "{tracked} tracked sends, but {answered} answers and {owed} to come"
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
        Due::Timer(_) | Due::Listener(_) | Due::Shutdown => false,
    };
    match net.deadlines.keys().find(is_stale) {
        Some(due) => Err(format!("a deadline is kept for nobody: {due:?}")),
        None => Ok(()),
    }
}

fn check_peer(net: &Net, conn: ConnId, peer: &Peer, is_busy: bool) -> Result<(), String> {
    let profile = &peer.profile;
    let most = profile.queue_max + profile.max_frame + OVERHEAD_MAX;
    if peer.queue_cost() > most {
        return Err(format!("{conn} has queued {} bytes", peer.queue_cost()));
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
        Some((_, ending)) if peer.deadline.is_none() => {
            Err(format!("nobody looks at {conn}, which is due: {ending:?}"))
        }
        _ => Ok(()),
    }
}

/// What was accepted for sending is queued or on the wire; what came from the wire is delivered or kept.
fn check_bytes(
    conn: ConnId,
    peer: &Peer,
    inbound: &InboundView,
    view: &View,
) -> Result<(), String> {
    let state = peer.inner_state();
    if !matches!(state, State::Open | State::Closing(_)) {
        return Ok(());
    }
    let (accepted, queued) = (peer.traffic.bytes_sent, peer.queued() as u64);
    if accepted != view.written + queued {
        return Err(format!(
            "{conn}: {accepted} bytes accepted for sending, but {} written and {queued} queued",
            view.written
        ));
    }
    let (delivered, stashed) = (peer.traffic.bytes_received, inbound.stashed as u64);
    if state == State::Open && view.read != delivered + stashed {
        return Err(format!(
            "{conn}: {} bytes read, but {delivered} delivered and {stashed} kept",
            view.read
        ));
    }
    Ok(())
}

/// The node has nothing to do and nothing will wake it for this connection: then there must be nothing to do.
fn check_awake(conn: ConnId, peer: &Peer, view: &View) -> Result<(), String> {
    if view.is_awaited {
        return Ok(());
    }
    let state = peer.inner_state();
    let forgotten = match state {
        State::Connecting if view.is_established || view.is_broken => "that it is connected",
        State::Open | State::Closing(_) => {
            let is_read = state != State::Open || !peer.paused;
            let can_write = view.has_room || view.is_broken;
            if is_read && view.readable > 0 {
                "what has arrived"
            } else if is_read && view.is_at_end && !peer.peer_finished {
                "the end of the stream"
            } else if peer.queue.is_some() && peer.failure.is_none() && can_write {
                "what is queued"
            } else if is_read && view.is_broken {
                "that it is broken"
            } else {
                return Ok(());
            }
        }
        _ => return Ok(()),
    };
    Err(format!(
        "the node is stuck: nothing will remind it of {forgotten}; {conn}, {state:?}, {view:?}"
    ))
}

fn check_listeners(net: &Net, internet: &Internet) -> Result<(), String> {
    for (_, listening) in &net.listeners {
        let Some(id) = listening.socket.sim_id() else {
            continue;
        };
        let waiting = internet.waiting(id);
        if waiting > 0 && listening.pause.is_none() && !internet.is_listener_awaited(id) {
            let addr = listening.addr;
            return Err(format!(
                "the node is stuck: nothing will remind it of {waiting} who wait at {addr}"
            ));
        }
    }
    Ok(())
}
