//! A node of a world, whatever its handler.

use std::any::Any;
use std::fmt::Write as _;
use std::io;
use std::time::Instant;

use super::checks::{self, Connection};
use super::observer::Observer;
use crate::handler::Handler;
use crate::node::{Node, Turn};
use crate::sys::sim::Internet;

pub(super) trait Hosted {
    fn turn(&mut self) -> io::Result<Turn>;

    /// Whether it has had its first turn.
    fn has_started(&self) -> bool;

    /// When it wants its next turn, unless something happens before.
    fn next_turn(&self, now: Instant) -> Option<Instant>;

    /// What the node breaks of what it promises.
    fn check(&mut self, internet: &mut Internet) -> Result<(), String>;

    /// Its connections, for a comparison with those of others.
    fn connections(&self) -> Vec<Connection>;

    /// In a line, what it is doing.
    fn describe(&self) -> String;

    fn as_any(&self) -> &dyn Any;

    fn as_any_mut(&mut self) -> &mut dyn Any;

    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<H: Handler + 'static> Hosted for Node<Observer<H>> {
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

    fn check(&mut self, internet: &mut Internet) -> Result<(), String> {
        if let Some(violation) = self.handler_mut().ledger.violation.take() {
            return Err(violation);
        }
        let is_busy = self.is_busy();
        let (state, net, observer) = self.parts();
        checks::check(state, net, &observer.ledger, internet, is_busy)?;
        let owed = checks::tracked(state, net);
        self.handler_mut().ledger.end_turn(owed);
        Ok(())
    }

    fn connections(&self) -> Vec<Connection> {
        let (state, net, _) = self.parts();
        checks::connections(state, net)
    }

    fn describe(&self) -> String {
        let (_, net, _) = self.parts();
        let mut line = format!(
            "{} connections, {} dials, {} bytes queued, {} turns",
            net.connection_count(),
            net.connecting_count(),
            net.metrics.queued,
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
            let _ = write!(line, ", {} queued, {:?}", entry.queued(), entry.traffic());
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
