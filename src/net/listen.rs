//! Listeners.

use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use super::{Due, Net};
use crate::addr::Listening;
use crate::config::{ConnectionConfig, ListenOptions, TrustedProxies};
use crate::cross_shard::AcceptedSocket;
use crate::error::ConfigError;
use crate::id::{ListenerId, listener_token};
use crate::sys::Listener;

/// A listener and its state in the loop.
#[derive(Debug)]
pub(crate) struct ListenerEntry {
    pub(crate) socket: Listener,
    pub(crate) listening: Listening,
    pub(crate) config: Arc<ConnectionConfig>,
    /// The proxies whose connections begin with a PROXY header.
    proxies: Option<TrustedProxies>,
    /// There may be connections to accept. Set by an edge, and cleared only by
    /// `WouldBlock`.
    pub(crate) ready: bool,
    /// The listener is on the list of listeners to visit.
    pub(crate) scheduled: bool,
    /// The slot of the timer that ends a pause.
    pub(crate) pause: Option<u32>,
    /// The length of the next pause.
    pub(crate) next_pause: Duration,
}

impl Net {
    /// Returns options for [`Net::listen_with`], with the node's settings.
    pub fn listen_options(&self) -> ListenOptions {
        ListenOptions::new(Arc::clone(&self.connection_config))
    }

    /// Listens on `addr`, and returns the id and the address of the listener.
    /// With port 0 the system chooses the port.
    ///
    /// If `addr` is a host name, it is resolved on this thread, which may block
    /// the loop. If it has several addresses, the first one that works is used.
    /// SO_REUSEADDR is set (Unix).
    ///
    /// # Errors
    ///
    /// - The error of `socket`, `bind` or `listen`, such as `AddrInUse` or
    ///   `PermissionDenied`;
    /// - `InvalidInput` if `addr` has no address, or the error of the resolver;
    /// - `Other` after [`Net::shutdown`].
    pub fn listen(&mut self, addr: impl ToSocketAddrs) -> io::Result<Listening> {
        let options = self.listen_options();
        self.listen_with(addr, options)
    }

    /// Listens on `addr` with options; see [`Net::listen`].
    ///
    /// ```
    /// # use peerloop::{Config, ConnId, Handler, Net, Node};
    /// # struct Server;
    /// # impl Handler for Server {
    /// #     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// # }
    /// # fn main() -> std::io::Result<()> {
    /// # let mut node = Node::new(Config::default(), Server)?;
    /// let net = node.net();
    /// let mut options = net.listen_options();
    /// options.connection_mut().max_message_len = 64 * 1024;
    /// let listening = net.listen_with("127.0.0.1:0", options)?;
    /// println!("listening on {listening}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::listen`];
    /// - `InvalidInput` with a [`ConfigError`] inside if an option is invalid;
    /// - `Unsupported` for `reuse_port` on systems without SO_REUSEPORT.
    pub fn listen_with(
        &mut self,
        addr: impl ToSocketAddrs,
        options: ListenOptions,
    ) -> io::Result<Listening> {
        self.listen_as(None, addr, options)
    }

    /// Listens on a listening socket that was created elsewhere, for example
    /// one inherited from a service manager.
    ///
    /// The socket is made non-blocking. The options `backlog`, `reuse_port` and
    /// `v6_only` are ignored. If another process has the socket too, closing
    /// the listener does not free its port. The recipe [graceful
    /// restart](crate::guide::recipes#graceful-restart) passes a socket to a
    /// new process.
    ///
    /// ```
    /// # use peerloop::{Config, ConnId, Handler, Net, Node};
    /// # struct Server;
    /// # impl Handler for Server {
    /// #     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// # }
    /// # fn main() -> std::io::Result<()> {
    /// # let mut node = Node::new(Config::default(), Server)?;
    /// let inherited = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let options = node.listen_options();
    /// let listening = node.net().listen_on(inherited, options)?;
    /// # assert_ne!(listening.addr.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - The error of the system if the socket is not a listener;
    /// - `InvalidInput` with a [`ConfigError`] inside if an option is invalid;
    /// - `Other` after [`Net::shutdown`];
    /// - `Unsupported` in the simulator.
    pub fn listen_on(
        &mut self,
        listener: TcpListener,
        options: ListenOptions,
    ) -> io::Result<Listening> {
        let config = self.check_listen(&options)?;
        let socket = self.registrar.adopt_listener(listener)?;
        let id = self.given_or_new_id(None)?;
        self.add_listener(id, socket, &config, &options)
    }

    /// Listens with the given listener id, or with a new one.
    pub(crate) fn listen_as(
        &mut self,
        id: Option<ListenerId>,
        addr: impl ToSocketAddrs,
        options: ListenOptions,
    ) -> io::Result<Listening> {
        let config = self.check_listen(&options)?;
        let id = self.given_or_new_id(id)?;
        let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for addr in addr.to_socket_addrs()? {
            let bound = self.registrar.bind(addr, &options, &self.sockets);
            match bound.and_then(|socket| self.add_listener(id, socket, &config, &options)) {
                Ok(listening) => return Ok(listening),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn check_listen(&mut self, options: &ListenOptions) -> io::Result<Arc<ConnectionConfig>> {
        if self.stopping.is_some() {
            return Err(io::Error::other("the node is shutting down"));
        }
        self.reserve.fill();
        options.validate()?;
        Ok(self.validated(options.shared_connection())?)
    }

    fn given_or_new_id(&self, id: Option<ListenerId>) -> io::Result<ListenerId> {
        id.or_else(|| self.limits.next_listener_id())
            .ok_or_else(|| io::Error::other("the node has given out all listener ids"))
    }

    fn add_listener(
        &mut self,
        id: ListenerId,
        mut socket: Listener,
        config: &Arc<ConnectionConfig>,
        options: &ListenOptions,
    ) -> io::Result<Listening> {
        let addr = socket.local_addr()?;
        let listening = Listening { id, addr };
        let entry = self.listeners.vacant_entry();
        let token = listener_token(entry.key());
        self.registrar.add_listener(&mut socket, token)?;
        if !self.limits.lock().add_listener(id, &options.limits) {
            // The socket is dropped and thereby closed, even if it cannot be
            // deregistered.
            let _ = self.registrar.remove_listener(&mut socket);
            let problem = "is more than the number of unreserved slots";
            let field = "limits.reserved_connections";
            return Err(ConfigError { field, problem }.into());
        }
        entry.insert(ListenerEntry {
            socket,
            listening,
            config: Arc::clone(config),
            proxies: options.proxy_protocol.clone(),
            ready: false,
            scheduled: false,
            pause: None,
            next_pause: self.config.accept_backoff,
        });
        log::info!(target: "peerloop", "{}: listening on {addr}", self.config.name);
        Ok(listening)
    }

    /// Closes a listener on all [shards](crate::shards).
    ///
    /// The socket of this shard is closed when the call returns. Connections
    /// that wait in the kernel to be accepted are reset. Accepted connections
    /// are not affected. Closing a stale id is a no-op.
    pub fn close_listener(&mut self, listener: ListenerId) {
        self.close_own_listener(listener);
        self.close_remote_listeners(listener);
    }

    /// Closes the sockets of a listener on this shard.
    pub(crate) fn close_own_listener(&mut self, listener: ListenerId) {
        let mut listeners = self.listeners.iter();
        while let Some((index, _)) = listeners.find(|(_, entry)| entry.listening.id == listener) {
            self.remove_listener(index);
            listeners = self.listeners.iter();
        }
    }

    /// Returns the listeners of this loop, in no particular order.
    pub fn listeners(&self) -> impl Iterator<Item = Listening> + '_ {
        self.listeners.iter().map(|(_, entry)| entry.listening)
    }

    pub(crate) fn remove_listener(&mut self, index: usize) {
        let Some(mut listener) = self.listeners.try_remove(index) else {
            return;
        };
        if let Some(slot) = listener.pause {
            self.timers.remove(slot);
        }
        self.limits.lock().remove_listener(listener.listening.id);
        if let Err(error) = self.registrar.remove_listener(&mut listener.socket) {
            log::debug!(target: "peerloop", "{}: deregistering a listener: {error}", self.config.name);
        }
    }

    /// Accepts one connection.
    pub(crate) fn accept(&mut self, index: usize) -> io::Result<AcceptedSocket> {
        if let Some(router) = &mut self.router {
            router.note_accept_start();
        }
        let listener = &mut self.listeners[index];
        let (stream, addr) = listener.socket.accept()?;
        listener.next_pause = self.config.accept_backoff;
        Ok(AcceptedSocket {
            has_options: listener.socket.passes_options_on(),
            stream,
            addr,
            local_addr: listener.socket.accepts_on(),
            listener: listener.listening.id,
            config: Arc::clone(&listener.config),
            proxies: listener.proxies.clone(),
        })
    }

    /// Adds a listener to the list of listeners to visit, once.
    pub(crate) fn schedule_listener(&mut self, index: usize) {
        if let Some(listener) = self.listeners.get_mut(index) {
            if !std::mem::replace(&mut listener.scheduled, true) {
                self.work.listeners.push_back(index);
            }
        }
    }

    /// Pauses a listener after file-descriptor or memory exhaustion. `ready`
    /// stays set, because no further edge may follow for the waiting
    /// connections.
    pub(crate) fn pause_listener(&mut self, index: usize) {
        let Some(listener) = self.listeners.get(index) else {
            return;
        };
        let pause = listener.next_pause;
        let longest = self.config.max_accept_backoff();
        let (slot, _) = self.arm_after(pause, |_| Due::Listener(index));
        let listener = &mut self.listeners[index];
        listener.pause = Some(slot);
        listener.next_pause = pause.saturating_mul(2).min(longest);
        self.metrics.accept_backoffs += 1;
        let router = self.router.as_ref();
        if router.is_some_and(|router| router.note_listener_paused()) {
            self.resume_listeners();
        }
    }

    /// Ends the pause of every listener, because a file descriptor is free.
    pub(crate) fn resume_listeners(&mut self) {
        for (index, listener) in &mut self.listeners {
            if let Some(slot) = listener.pause.take() {
                self.timers.remove(slot);
                if !std::mem::replace(&mut listener.scheduled, true) {
                    self.work.listeners.push_back(index);
                }
            }
        }
    }
}
