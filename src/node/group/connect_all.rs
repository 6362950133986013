//! Connecting the members of a group to each other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{AnyMemberId, Group};
use crate::answer::{Answer, question};
use crate::connection::ConnectionState;
use crate::error::ConnectError;
use crate::id::ConnId;
use crate::net::Connected;
use crate::net::Connection;
use crate::node::RunEnd;
use crate::topology::Topology;

/// A connection between two members that is being established.
struct Edge {
    from: AnyMemberId,
    to: AnyMemberId,
    conn: ConnId,
    answer: Answer<Connected>,
    /// The local address of the connecting end, after it is established there.
    addr: Option<SocketAddr>,
}

impl Group {
    /// Connects the members to each other in the shape of a topology. Runs the
    /// group until all connections are established at both ends, or for about
    /// `bound`.
    ///
    /// Returns the ids of the connections at the members that connect, in the
    /// order of [`Topology::edges`].
    ///
    /// - The nodes of the topology are the running members, in the order in
    ///   which they were added.
    /// - A member without a listener listens on `127.0.0.1`, on a port chosen
    ///   by the system. Other members are connected to at their first listener.
    /// - All connections have the same IP address. Therefore
    ///   [`Limits::max_connections_per_address`](crate::config::Limits::max_connections_per_address)
    ///   must be at least the number of connections of a member.
    ///
    /// ```
    /// use std::time::Duration;
    /// use peerloop::config::OnPanic;
    /// use peerloop::group::Group;
    /// use peerloop::topology::Topology;
    /// use peerloop::{Config, ConnId, Handler, Net, RunEnd};
    ///
    /// #[derive(Default)]
    /// struct Relay {
    ///     peers: Vec<ConnId>,
    ///     received: usize,
    /// }
    ///
    /// impl Handler for Relay {
    ///     fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
    ///         self.peers.push(conn);
    ///     }
    ///
    ///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
    ///         self.received += 1;
    ///         for next in self.peers.iter().filter(|peer| **peer != conn) {
    ///             net.send(*next, message).expect("an empty queue has room");
    ///         }
    ///     }
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let config = Config { on_panic: OnPanic::Unwind, ..Config::default() };
    /// let bound = Duration::from_secs(10);
    /// let mut group = Group::new()?;
    /// let first = group.add(config.clone(), Relay::default())?;
    /// group.add(config.clone(), Relay::default())?;
    /// let last = group.add(config, Relay::default())?;
    /// let conns = group.connect_all(Topology::Line, bound)?;
    ///
    /// let net = group.net(first).expect("a member");
    /// net.send(conns[0], b"pass it on").expect("there is room");
    /// let end = group.run_until(bound, |group| {
    ///     group.handler(last).is_some_and(|relay| relay.received == 1)
    /// })?;
    /// assert_eq!(end, RunEnd::Done);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// After an error, connections that were started stay.
    ///
    /// - `InvalidInput` with a
    ///   [`TopologyError`](crate::topology::TopologyError) inside if the
    ///   members cannot form this topology;
    /// - the errors of [`Net::listen`](crate::Net::listen);
    /// - the [`ConnectError`] of a connection that failed. If
    ///   [`Config::allow_duplicates`](crate::Config::allow_duplicates) is
    ///   false, this includes members that are already connected;
    /// - `ConnectionReset` if a connection was established at one end only, for
    ///   example because of a limit of the other member. The text has the names
    ///   of both members, see [`Config::name`](crate::Config::name);
    /// - `TimedOut` if the time has passed;
    /// - the errors of [`Group::run`].
    pub fn connect_all(&mut self, topology: Topology, bound: Duration) -> io::Result<Vec<ConnId>> {
        let nodes = self.running_members();
        let edges = topology
            .edges(nodes.len())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let addrs = nodes
            .iter()
            .map(|node| self.addr_of(*node))
            .collect::<io::Result<Vec<_>>>()?;
        let mut pending = Vec::with_capacity(edges.len());
        for (from, to) in edges {
            pending.push(self.connect_edge(nodes[from], nodes[to], addrs[to])?);
        }
        let conns = pending.iter().map(|edge| edge.conn).collect();
        let mut outcome = Ok(());
        let end = self.run_until(bound, |group| {
            // The next one is checked after this one is established.
            while let Some(edge) = pending.last_mut() {
                match group.is_made(edge) {
                    Ok(true) => pending.truncate(pending.len() - 1),
                    Ok(false) => return false,
                    Err(error) => {
                        outcome = Err(error);
                        return true;
                    }
                }
            }
            true
        })?;
        outcome?;
        match end {
            RunEnd::Done => Ok(conns),
            RunEnd::TimedOut => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{} connections are not established", pending.len()),
            )),
            RunEnd::Stopped => Err(ConnectError::ShuttingDown.into()),
        }
    }

    /// Returns the address of a member. Makes it listen if it does not.
    fn addr_of(&mut self, member: AnyMemberId) -> io::Result<SocketAddr> {
        let net = self.net(member).ok_or(ConnectError::NodeStopped)?;
        let first = net.listeners().next();
        let mut addr = match first {
            Some(listening) => listening.addr,
            None => net.listen((Ipv4Addr::LOCALHOST, 0))?.addr,
        };
        if addr.ip().is_unspecified() {
            addr.set_ip(match addr.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Ok(addr)
    }

    fn connect_edge(
        &mut self,
        from: AnyMemberId,
        to: AnyMemberId,
        addr: SocketAddr,
    ) -> io::Result<Edge> {
        let net = self.net(from).ok_or(ConnectError::NodeStopped)?;
        let conn = net.connect(addr)?;
        let (question, answer) = question();
        net.await_connect(conn, question);
        Ok(Edge {
            from,
            to,
            conn,
            answer,
            addr: None,
        })
    }

    /// Returns whether a connection is established at both ends.
    fn is_made(&mut self, edge: &mut Edge) -> io::Result<bool> {
        if edge.addr.is_none() {
            match edge.answer.take() {
                None => return Ok(false),
                Some(Ok(outcome)) => outcome.map(|_| ())?,
                Some(Err(_)) => return Err(ConnectError::NodeStopped.into()),
            }
        }
        let lost = || self.lost(edge);
        let is_open = |view: &Connection<'_>| view.state() == ConnectionState::Connected;
        let here = self
            .peek(edge.from)
            .and_then(|net| net.connection(edge.conn));
        let here = here.filter(is_open).ok_or_else(lost)?;
        let addr = here.info().local_addr.ok_or_else(lost)?;
        let there = self.peek(edge.to).ok_or_else(lost)?;
        edge.addr = Some(addr);
        let conn = there.find(addr).and_then(|conn| there.connection(conn));
        Ok(conn.is_some_and(|view| is_open(&view)))
    }

    /// Returns the error of a connection that was established at the connecting
    /// end and has ended.
    fn lost(&self, edge: &Edge) -> io::Error {
        let name = |id| self.peek(id).map_or("a removed member", |net| net.name());
        let (from, to) = (name(edge.from), name(edge.to));
        io::Error::new(
            io::ErrorKind::ConnectionReset,
            format!("the connection of {from} to {to} was established at {from}, and has ended"),
        )
    }
}
