//! Keeping a number of connections out of a list of addresses.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use super::address_list::AddressList;
use super::{AddressState, Backoff, KeepConnectedConfig, KeptAddress};
use crate::addr::to_canonical_target;
use crate::config::ConnectOptions;
use crate::error::{ConfigError, ConnectError};
use crate::id::{ConnId, TimerId};
use crate::net::Net;
use crate::topology::SplitMix64;

/// Keeps a number of connections out of a list of addresses.
///
/// The [module](super) has an example. A `KeepConnected` is a value in a
/// handler, which forwards [`on_connect`](Self::on_connect),
/// [`on_connect_failed`](Self::on_connect_failed),
/// [`on_disconnect`](Self::on_disconnect) and [`on_timer`](Self::on_timer) to
/// it, before the handler does anything else in them. It ignores connections
/// and timers that are not its own. Connections that the program makes are left
/// alone and do not count.
///
/// While connections are missing, it connects to the waiting addresses whose
/// time has come, the longest due first and in random order for equal times. At
/// most as many attempts are in progress as connections are missing. An address
/// waits for a delay of its [`Backoff`] after each of its attempts that fails
/// and after each of its connections that ends. The delay becomes the first one
/// again when a connection ends that has lasted for
/// [`reset_after`](KeepConnectedConfig::reset_after). An address that is never
/// reached stays in the list until [`remove`](Self::remove) is called.
///
/// The delays of a `KeepConnected` replace
/// [`Limits::connect_retry_rate`](crate::config::Limits::connect_retry_rate):
/// its attempts have a [`ConnectOptions::delay`] of zero, so that they are
/// neither delayed by this limit nor charged against it.
///
/// # Errors of an attempt
///
/// - [`ConnectError::ShuttingDown`] when an attempt would begin: No further
///   attempt is made.
/// - [`ConnectError::TooManyConnections`] and
///   [`ConnectError::TooManyConnecting`]: The limit is one of this node. All
///   addresses wait for a delay, and no failure is counted.
/// - [`ConnectError::AlreadyConnected`] and
///   [`ConnectError::AlreadyConnecting`]: The program, or another shard, has a
///   connection to the address. It does not count as kept, and this is a
///   failure of the address.
/// - All others, including [`ConnectError::SelfConnection`] and
///   [`ConnectError::Cancelled`]: This is a failure of the address.
///
/// # Together with `Peers`
///
/// [`Peers`](crate::hello::Peers) aborts all but one of the connections with the
/// same node. If it aborts one that this `KeepConnected` has made, that counts
/// as the end of any other connection, and as a failure of the address if the
/// connection has lasted for less than `reset_after`. The address is connected
/// to again after growing delays, and the new connection is aborted again while
/// the other one works. Therefore the node is connected again soon after the
/// other one has ended, at the cost of one connection per
/// [`BackoffConfig::max`](super::BackoffConfig::max). To save them, call
/// [`remove`](Self::remove) when `Peers::connected` returns
/// [`TieBreak::Lost`](crate::hello::TieBreak::Lost), and [`add`](Self::add) when
/// `Peers::disconnected` returns the node.
///
/// # Shards
///
/// With [`Shards`](crate::shards::Shards), each handler has its own
/// `KeepConnected`, which counts the connections of its shard. Give each
/// address to one shard. If two have the same address, the second one gets
/// `AlreadyConnected`, unless duplicates are allowed.
///
/// A `KeepConnected` belongs to one node, because it stores ids of the node's
/// connections and timers.
///
/// The recipe [reconnect with
/// backoff](crate::guide::recipes#reconnect-with-backoff) removes addresses that
/// fail repeatedly.
pub struct KeepConnected {
    config: KeepConnectedConfig,
    list: AddressList,
    make_options: Option<Box<MakeOptions>>,
    /// The delays after a refusal by a limit of the node.
    refusals: Backoff,
    /// The time before which a limit of the node allows no attempt.
    not_before: Option<Instant>,
    timer: Option<(TimerId, Instant)>,
}

type MakeOptions = dyn FnMut(&Net, SocketAddr) -> ConnectOptions + Send;

/// The reason why an address was not added to a [`KeepConnected`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AddressError {
    /// The port is zero.
    InvalidAddress,
    /// [`max_addresses`](KeepConnectedConfig::max_addresses) is reached.
    TooManyAddresses,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidAddress => "the port of the address is zero",
            Self::TooManyAddresses => "the list has its maximum number of addresses",
        })
    }
}

impl Error for AddressError {}

impl KeepConnected {
    /// Creates a `KeepConnected` without addresses. [`Backoff::new`] describes
    /// the seed.
    ///
    /// # Errors
    ///
    /// - A [`ConfigError`] if a field is invalid.
    pub fn new(config: KeepConnectedConfig, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut seeds = SplitMix64(seed);
        Ok(Self {
            config,
            list: AddressList::new(config.backoff, seeds.next()),
            make_options: None,
            refusals: Backoff::of_valid(config.backoff, seeds.next()),
            not_before: None,
            timer: None,
        })
    }

    /// Sets a function that returns the options of each attempt, instead of
    /// [`Net::connect_options`].
    ///
    /// If the function sets a [`ConnectOptions::delay`], the attempt begins
    /// after it. Otherwise the delay is zero.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use peerloop::reconnect::{KeepConnected, KeepConnectedConfig};
    /// # let mut keep = KeepConnected::new(KeepConnectedConfig::default(), 7)?;
    /// keep.set_connect_options(|net, _addr| {
    ///     let mut options = net.connect_options();
    ///     options.connection_mut().timeouts.connect = Some(Duration::from_secs(2));
    ///     options
    /// });
    /// # Ok::<(), peerloop::error::ConfigError>(())
    /// ```
    pub fn set_connect_options(
        &mut self,
        make: impl FnMut(&Net, SocketAddr) -> ConnectOptions + Send + 'static,
    ) {
        self.make_options = Some(Box::new(make));
    }

    /// Adds an address. If a connection is missing, an attempt may begin in the
    /// next turn, so that the addresses that are added together come in random
    /// order.
    ///
    /// The address is stored in its [canonical form](crate::to_canonical), and
    /// the unspecified address as the loopback address. It is a no-op if the
    /// address is in the list.
    ///
    /// # Errors
    ///
    /// - [`AddressError::InvalidAddress`] if the port is zero;
    /// - [`AddressError::TooManyAddresses`] if
    ///   [`max_addresses`](KeepConnectedConfig::max_addresses) is reached.
    pub fn add(&mut self, net: &mut Net, addr: SocketAddr) -> Result<(), AddressError> {
        let addr = to_canonical_target(addr);
        if addr.port() == 0 {
            return Err(AddressError::InvalidAddress);
        }
        if self.list.contains(addr) {
            return Ok(());
        }
        if self.list.len() >= self.config.max_addresses {
            return Err(AddressError::TooManyAddresses);
        }
        self.list.add(addr, net.now());
        self.set_timer(net);
        Ok(())
    }

    /// Removes an address, and returns its last state. Returns `None` if it is
    /// not in the list.
    ///
    /// An attempt in progress is cancelled. An open connection stays open, and
    /// is a connection of the program from then on. Another address takes its
    /// place.
    pub fn remove(&mut self, net: &mut Net, addr: SocketAddr) -> Option<KeptAddress> {
        let kept = self.list.remove(to_canonical_target(addr))?;
        if let AddressState::Connecting(conn) = kept.state {
            net.close(conn);
        }
        self.connect_missing(net);
        Some(kept)
    }

    /// To be called in [`Handler::on_connect`](crate::Handler::on_connect).
    /// Returns the address of the connection, or `None` if this `KeepConnected`
    /// did not make it.
    pub fn on_connect(&mut self, net: &mut Net, conn: ConnId) -> Option<KeptAddress> {
        self.list.open(conn, net.now())
    }

    /// To be called in
    /// [`Handler::on_connect_failed`](crate::Handler::on_connect_failed).
    /// Connects to other addresses that are due.
    ///
    /// Returns the address of the attempt, which is
    /// [waiting](AddressState::Waiting) now, or `None` if this `KeepConnected`
    /// did not make the attempt.
    pub fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        error: ConnectError,
    ) -> Option<KeptAddress> {
        let kept = self.list.fail(conn, error, net.now())?;
        self.connect_missing(net);
        Some(kept)
    }

    /// To be called in
    /// [`Handler::on_disconnect`](crate::Handler::on_disconnect). Connects to
    /// other addresses that are due.
    ///
    /// Returns the address of the connection, which is
    /// [waiting](AddressState::Waiting) now, or `None` if this `KeepConnected`
    /// did not make the connection. The address is connected to again even if
    /// the program has closed the connection. Call [`remove`](Self::remove) if
    /// it should not be.
    pub fn on_disconnect(&mut self, net: &mut Net, conn: ConnId) -> Option<KeptAddress> {
        let kept = self.list.end(conn, self.config.reset_after, net.now())?;
        self.connect_missing(net);
        Some(kept)
    }

    /// To be called in [`Handler::on_timer`](crate::Handler::on_timer). Returns
    /// whether the timer is one of this `KeepConnected`.
    pub fn on_timer(&mut self, net: &mut Net, timer: TimerId) -> bool {
        if self.timer.is_none_or(|(own, _)| own != timer) {
            return false;
        }
        self.timer = None;
        self.connect_missing(net);
        true
    }

    /// Returns the number of open connections that this `KeepConnected` has
    /// made.
    pub fn connection_count(&self) -> usize {
        self.connections().count()
    }

    /// Returns the open connections that this `KeepConnected` has made, in no
    /// particular order, for example for [`Net::broadcast`].
    pub fn connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.list.connections()
    }

    /// Returns the state of an address, or `None` if it is not in the list.
    pub fn address(&self, addr: SocketAddr) -> Option<KeptAddress> {
        self.list.get(to_canonical_target(addr))
    }

    /// Returns the addresses of the list and their states, ordered by address.
    ///
    /// ```
    /// use peerloop::reconnect::{AddressState, KeepConnected};
    ///
    /// fn print(keep: &KeepConnected) {
    ///     for it in keep.addresses() {
    ///         match it.state {
    ///             AddressState::Connected(conn) => println!("{}: connected as {conn}", it.addr),
    ///             AddressState::Connecting(_) => println!("{}: connecting", it.addr),
    ///             _ => println!("{}: {} failures, {:?}", it.addr, it.failures, it.last_error),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn addresses(&self) -> impl Iterator<Item = KeptAddress> + '_ {
        self.list.iter()
    }

    /// Begins attempts for the missing connections, as far as addresses are
    /// due.
    fn connect_missing(&mut self, net: &mut Net) {
        let now = net.now();
        while let Some((at, addr)) = self.next_attempt() {
            if at > now {
                break;
            }
            let mut options = match &mut self.make_options {
                Some(make) => make(net, addr),
                None => net.connect_options(),
            };
            options.delay.get_or_insert_default();
            match net.connect_with(addr, options) {
                Ok(conn) => {
                    self.list.begin(addr, conn);
                    self.refusals.reset();
                }
                Err(ConnectError::ShuttingDown) => return,
                Err(
                    error @ (ConnectError::TooManyConnections | ConnectError::TooManyConnecting),
                ) => {
                    self.list.note_error(addr, error);
                    self.not_before = Some(now + self.refusals.next_delay());
                }
                Err(error) => self.list.postpone(addr, Some(error), now),
            }
        }
        self.set_timer(net);
    }

    /// Returns the next address to connect to, and the time. Returns `None` if
    /// no connection is missing, or no address is waiting.
    fn next_attempt(&self) -> Option<(Instant, SocketAddr)> {
        if self.list.in_use() >= self.config.connections {
            return None;
        }
        let (at, addr) = self.list.next()?;
        Some((self.not_before.map_or(at, |it| it.max(at)), addr))
    }

    /// Sets the timer of the next attempt. A timer that is earlier stays.
    fn set_timer(&mut self, net: &mut Net) {
        let Some((at, _)) = self.next_attempt() else {
            return;
        };
        match self.timer {
            Some((_, set)) if set <= at => return,
            Some((timer, _)) => {
                net.cancel_timer(timer);
            }
            None => {}
        }
        self.timer = Some((net.set_timer_at(at, 0), at));
    }
}

impl fmt::Debug for KeepConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepConnected")
            .field("config", &self.config)
            .field("list", &self.list)
            .finish_non_exhaustive()
    }
}
