//! A node of a world, without the type of its handler.

use std::any::Any;
use std::fmt::Write as _;
use std::io;
use std::time::Instant;

use super::checks::{self, CheckedConnection};
use super::observer::Observer;
use super::promises::Exchange;
use crate::connection::ConnEntry;
use crate::handler::Handler;
use crate::id::{ConnId, Direction};
use crate::node::{Node, Turn};
use crate::sys::sim::Internet;

pub(super) trait AnyNode {
    fn turn(&mut self) -> io::Result<Turn>;

    /// Returns whether the node has had its first turn.
    fn has_started(&self) -> bool;

    /// Returns when the next turn of the node is due, unless an event comes
    /// before.
    fn next_turn(&self, now: Instant) -> Option<Instant>;

    /// Checks the guarantees of the library after a turn that ended at this
    /// time. The error describes the violation.
    fn check(&mut self, internet: &mut Internet, ended: Instant) -> Result<(), String>;

    /// Returns the node's ends of connections, for comparison with the other
    /// ends.
    fn connections(&self) -> Vec<CheckedConnection>;

    /// Returns the messages that the node has exchanged on each connection.
    fn exchanges(&self) -> Vec<Exchange>;

    /// Returns the connections that ended in this turn and that this node did
    /// not end.
    fn lost(&self) -> &[ConnId];

    /// Describes the node in one line, and some of its connections in a line
    /// each.
    fn describe(&self) -> String;

    fn as_any(&self) -> &dyn Any;

    fn as_any_mut(&mut self) -> &mut dyn Any;

    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<H: Handler + 'static> AnyNode for Node<Observer<H>> {
    fn turn(&mut self) -> io::Result<Turn> {
        Self::turn(self, Some(std::time::Duration::ZERO))
    }

    fn has_started(&self) -> bool {
        let (state, _, _) = self.parts();
        state.started
    }

    fn next_turn(&self, now: Instant) -> Option<Instant> {
        self.timeout().map(|timeout| now + timeout)
    }

    fn check(&mut self, internet: &mut Internet, ended: Instant) -> Result<(), String> {
        if let Some(violation) = self.handler_mut().ledger.violation.take() {
            return Err(violation);
        }
        let is_busy = self.is_busy();
        let (state, net, observer) = self.parts();
        checks::check_clock(net, ended)?;
        checks::check(state, net, &observer.ledger, internet, is_busy)?;
        let owed = checks::tracked(state, net);
        self.handler_mut().ledger.end_turn(owed);
        Ok(())
    }

    fn connections(&self) -> Vec<CheckedConnection> {
        let (state, net, _) = self.parts();
        checks::connections(state, net)
    }

    fn exchanges(&self) -> Vec<Exchange> {
        let (_, net, _) = self.parts();
        let exchange = |(conn, entry): (ConnId, &ConnEntry)| Exchange {
            conn,
            is_outbound: entry.direction() == Direction::Outbound,
            is_connecting: entry.is_unopened(),
            sent: entry.traffic.messages_sent,
            received: entry.traffic.messages_received,
        };
        net.conns.iter().map(exchange).collect()
    }

    fn lost(&self) -> &[ConnId] {
        &self.handler().ledger.lost_in_turn
    }

    fn describe(&self) -> String {
        let (_, net, _) = self.parts();
        let mut line = format!(
            "{} connections, {} connecting, {} bytes queued, {} turns",
            net.connection_count(),
            net.connecting_count(),
            net.pool.account.used(),
            net.metrics.turns,
        );
        if self.is_busy() {
            line.push_str(", busy");
        }
        for (conn, entry) in net.conns.iter().take(8) {
            let _ = write!(
                line,
                "\n      {conn} {:?} {:?}",
                entry.lifecycle(),
                entry.addr()
            );
            let _ = write!(
                line,
                ", {} queued, {:?}",
                entry.queued_bytes(),
                entry.traffic
            );
        }
        line
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
