//! Check of the answers to tracked sends.

use crate::event_loop::LoopState;
use crate::id::ConnId;
use crate::net::Net;
use crate::sim::ledger::{Ledger, Tokens};

/// Returns the answers that are owed, by connection and in order. Written
/// messages come first.
pub(in crate::sim) fn tracked(state: &LoopState, net: &Net) -> Tokens {
    let mut owed = Tokens::new();
    for (conn, token) in state.answers_owed() {
        owed.entry(conn).or_default().push(token);
    }
    for (conn, entry) in net.conns.iter() {
        let Some(queue) = &entry.queue else { continue };
        let mut waiting = queue.tracked().peekable();
        if waiting.peek().is_some() {
            owed.entry(conn).or_default().extend(waiting);
        }
    }
    owed
}

/// Checks that each tracked send is answered once, on its connection, with its
/// token and in order, or will be.
pub(super) fn check_tracked(state: &LoopState, net: &Net, ledger: &Ledger) -> Result<(), String> {
    let owed = tracked(state, net);
    let count = owed.values().map(Vec::len).sum::<usize>() as u64;
    let (tracked, answered) = (net.metrics.sends_tracked, ledger.answered);
    if tracked != answered + count {
        return Err(format!(
            "{tracked} tracked sends, but {answered} answers and {count} to come"
        ));
    }
    let tokens = |of: &Tokens, conn: &ConnId| of.get(conn).cloned().unwrap_or_default();
    for (conn, before) in &ledger.owed {
        let mut known = tokens(&ledger.answered_in_turn, conn);
        known.extend(tokens(&owed, conn));
        if !known.starts_with(before) {
            return Err(format!(
                "{conn}: the answers to {before:?} were owed, but these came or are owed now: {known:?}"
            ));
        }
    }
    Ok(())
}
