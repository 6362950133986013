//! Listening.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use super::{Due, Net};
use crate::config::{ListenOptions, Overrides, Profile};
use crate::cross_shard::AcceptedSocket;
use crate::id::listener_token;
use crate::sys::Listener;

/// A listener and what the loop remembers about it.
#[derive(Debug)]
pub(crate) struct ListenerEntry {
    pub(crate) socket: Listener,
    pub(crate) addr: SocketAddr,
    pub(crate) profile: Arc<Profile>,
    /// Connections may be waiting: set by an edge, cleared only by `WouldBlock`.
    pub(crate) ready: bool,
    /// On the list of listeners to be looked at.
    pub(crate) queued: bool,
    /// The deadline that ends a pause, if it rests.
    pub(crate) pause: Option<u32>,
    /// How long it rests at the next failure.
    pub(crate) next_pause: Duration,
}

impl Net {
    /// Listens on `addr` and says on which address: with port 0 the system chooses one. There can be any number of
    /// listeners.
    ///
    /// A host name is resolved here and now, which may block; an address is not. Of several addresses the first
    /// that works is taken. SO_REUSEADDR is set (Unix).
    ///
    /// # Errors
    ///
    /// What the system says of `socket`, `bind` and `listen`, such as
    /// - `AddrInUse` or `PermissionDenied`;
    /// - `InvalidInput` when `addr` resolves to nothing;
    /// - `Other` after [`Net::shutdown`].
    pub fn listen(&mut self, addr: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        self.listen_with(addr, ListenOptions::default())
    }

    /// Listens with a backlog, a framing or deadlines of its own; see [`Net::listen`].
    ///
    /// # Errors
    ///
    /// Those of [`Net::listen`], and
    /// - `InvalidInput` when an option cannot work; the field is named;
    /// - `Unsupported` for `reuse_port` where there is no SO_REUSEPORT.
    pub fn listen_with(
        &mut self,
        addr: impl ToSocketAddrs,
        options: ListenOptions,
    ) -> io::Result<SocketAddr> {
        if self.stopping.is_some() {
            return Err(io::Error::other("the node is shutting down"));
        }
        let overrides = Overrides {
            framing: options.framing.clone(),
            max_frame: options.max_frame,
            timeouts: options.timeouts,
            overflow: options.overflow,
            half_open: options.half_open,
        };
        let profile = self.profile.with(overrides)?;
        self.reserve.fill();
        let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for addr in addr.to_socket_addrs()? {
            match self.listen_on(addr, &options, &profile) {
                Ok(bound) => return Ok(bound),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn listen_on(
        &mut self,
        addr: SocketAddr,
        options: &ListenOptions,
        profile: &Arc<Profile>,
    ) -> io::Result<SocketAddr> {
        let mut socket = self.registrar.bind(addr, options, &self.sockets)?;
        let addr = socket.local_addr()?;
        let entry = self.listeners.vacant_entry();
        self.registrar
            .add_listener(&mut socket, listener_token(entry.key()))?;
        entry.insert(ListenerEntry {
            socket,
            addr,
            profile: Arc::clone(profile),
            ready: false,
            queued: false,
            pause: None,
            next_pause: self.config.accept_backoff,
        });
        log::info!(target: "peerloop", "{}: listening on {addr}", self.config.name);
        Ok(addr)
    }

    /// Stops listening on an address that [`Net::listen`] returned. The port is free when this returns; connections
    /// accepted before are not touched, those still waiting in the kernel are reset by it.
    ///
    /// # Errors
    ///
    /// - `NotFound` when no listener of this node has that address.
    pub fn unlisten(&mut self, addr: SocketAddr) -> io::Result<()> {
        let found = self
            .listeners
            .iter()
            .find(|(_, listener)| listener.addr == addr);
        let Some((index, _)) = found else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no listener has this address",
            ));
        };
        self.drop_listener(index);
        Ok(())
    }

    /// The addresses on which this node listens.
    pub fn listeners(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.iter().map(|(_, listener)| listener.addr)
    }

    pub(crate) fn drop_listener(&mut self, index: usize) {
        let Some(mut listener) = self.listeners.try_remove(index) else {
            return;
        };
        if let Some(slot) = listener.pause {
            self.deadlines.remove(slot);
        }
        if let Err(error) = self.registrar.remove_listener(&mut listener.socket) {
            log::debug!(target: "peerloop", "{}: deregistering a listener: {error}", self.config.name);
        }
    }

    /// Accepts one connection.
    pub(crate) fn accept(&mut self, index: usize) -> io::Result<AcceptedSocket> {
        if let Some(router) = &mut self.router {
            router.begin_accept();
        }
        let listener = &mut self.listeners[index];
        let (stream, addr) = listener.socket.accept()?;
        listener.next_pause = self.config.accept_backoff;
        Ok(AcceptedSocket {
            stream,
            addr,
            profile: Arc::clone(&listener.profile),
        })
    }

    /// Puts a listener that may have connections waiting on the loop's list.
    pub(crate) fn revisit_listener(&mut self, index: usize) {
        if let Some(listener) = self.listeners.get_mut(index) {
            if !std::mem::replace(&mut listener.queued, true) {
                self.work.listeners.push(index);
            }
        }
    }

    /// Lets a listener rest: the process is out of descriptors or memory. That connections are waiting is remembered
    /// in `ready`, since no further edge may come.
    pub(crate) fn pause_listener(&mut self, index: usize) {
        let Some(listener) = self.listeners.get(index) else {
            return;
        };
        let pause = listener.next_pause;
        let longest = self.config.max_accept_backoff();
        let deadline = self
            .deadlines
            .insert(self.later(pause), Due::Listener(index))
            .0;
        let listener = &mut self.listeners[index];
        listener.pause = Some(deadline);
        listener.next_pause = pause.saturating_mul(2).min(longest);
        self.metrics.accept_backoffs += 1;
        let router = self.router.as_ref();
        if router.is_some_and(|router| router.note_resting()) {
            self.wake_listeners();
        }
    }

    /// There is room again for one whose handshake is not over: looks at every listener that may have somebody waiting.
    pub(crate) fn admit_waiting(&mut self) {
        for (index, listener) in &mut self.listeners {
            let waits = listener.ready && listener.pause.is_none();
            if waits && !std::mem::replace(&mut listener.queued, true) {
                self.work.listeners.push(index);
            }
        }
    }

    /// Ends the rest of every listener: a connection has ended, so there is a descriptor again.
    pub(crate) fn wake_listeners(&mut self) {
        for (index, listener) in &mut self.listeners {
            if let Some(slot) = listener.pause.take() {
                self.deadlines.remove(slot);
                if !std::mem::replace(&mut listener.queued, true) {
                    self.work.listeners.push(index);
                }
            }
        }
    }
}
