//! How one listener or one dial differs from its node.

use std::net::SocketAddr;

use super::{HalfOpen, Overflow, Permission, Timeouts};
use crate::framing::Framing;

/// How one listener differs from the node's [`Config`](crate::Config); see [`Net::listen_with`](crate::Net::listen_with).
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections that may wait in the kernel until they are accepted (`listen(2)`; Linux caps it at
    /// `net.core.somaxconn`). Default: 1,024.
    pub backlog: u32,
    /// Sets SO_REUSEPORT (Unix), so that several listeners share one port. Default: false.
    pub reuse_port: bool,
    /// Sets IPV6_V6ONLY to this. Default: `None`, as the system has it.
    pub v6_only: Option<bool>,
    /// Framing of the accepted connections. Default: `None`, as [`Config::framing`](crate::Config::framing).
    pub framing: Option<Framing>,
    /// Longest message of the accepted connections. Default: `None`, as [`Config::max_frame`](crate::Config::max_frame).
    pub max_frame: Option<usize>,
    /// Deadlines of the accepted connections. Default: `None`, as [`Config::timeouts`](crate::Config::timeouts).
    pub timeouts: Option<Timeouts>,
    /// What happens when a queue of theirs is full. Default: `None`, as [`Config::overflow`](crate::Config::overflow).
    pub overflow: Option<Overflow>,
    /// Whether they live on when the peer ends its side. Default: `None`, as [`Config::half_open`](crate::Config::half_open).
    pub half_open: Option<HalfOpen>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            reuse_port: false,
            v6_only: None,
            framing: None,
            max_frame: None,
            timeouts: None,
            overflow: None,
            half_open: None,
        }
    }
}

/// How one dial differs from the node's [`Config`](crate::Config); see [`Net::connect_with`](crate::Net::connect_with).
#[derive(Debug, Default)]
pub struct ConnectOptions {
    /// A socket to dial with, bound and set up as the caller likes (hole punching, source ports, devices). It is
    /// made non-blocking. Default: `None`, a new one.
    pub socket: Option<socket2::Socket>,
    /// The local address to dial from; port 0 lets the system choose. Not together with `socket`. Default: `None`.
    ///
    /// After a connection that this node has ended first, the system keeps a port for a minute or more (TIME-WAIT; RFC 9293,
    /// 3.6.1), and the next dial from it fails with `AddrInUse`.
    pub source: Option<SocketAddr>,
    /// Framing of the connection. Default: `None`, as [`Config::framing`](crate::Config::framing).
    pub framing: Option<Framing>,
    /// Longest message of the connection. Default: `None`, as [`Config::max_frame`](crate::Config::max_frame).
    pub max_frame: Option<usize>,
    /// Deadlines of the connection. Default: `None`, as [`Config::timeouts`](crate::Config::timeouts).
    pub timeouts: Option<Timeouts>,
    /// What happens when its queue is full. Default: `None`, as [`Config::overflow`](crate::Config::overflow).
    pub overflow: Option<Overflow>,
    /// Whether it lives on when the peer ends its side. Default: `None`, as [`Config::half_open`](crate::Config::half_open).
    pub half_open: Option<HalfOpen>,
    /// Whether to dial an address that is connected or being dialled. Default: `None`, as [`Config::duplicates`](crate::Config::duplicates).
    pub duplicates: Option<Permission>,
}
