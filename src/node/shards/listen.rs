//! Listeners of a node with shards.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use super::ShardsHandle;
use crate::addr::Listening;
use crate::config::{ListenOptions, Placement};
use crate::id::{ListenerId, ShardId};

impl<H> ShardsHandle<H> {
    /// Returns options for [`ShardsHandle::listen_with`], with the node's
    /// settings.
    pub fn listen_options(&self) -> ListenOptions {
        self.first().listen_options()
    }

    /// Listens on `addr`; see [`Net::listen`](crate::Net::listen). Waits up to
    /// 10 s for the loops. Inbound connections are assigned to shards according
    /// to [`Placement`]. The first shard accepts them. With
    /// [`Placement::ReusePort`] all shards accept.
    ///
    /// [`Net::listen`](crate::Net::listen) inside one shard opens a listener of
    /// that shard only. It accepts connections for all shards. With
    /// [`Placement::ReusePort`] it keeps the connections that it accepts.
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::listen`](crate::Net::listen) and of
    ///   [`Handle::ask`](crate::Handle::ask).
    pub fn listen(&self, addr: impl ToSocketAddrs) -> io::Result<Listening> {
        self.listen_with(addr, self.listen_options())
    }

    /// Listens with options; see [`ShardsHandle::listen`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::listen_with`](crate::Net::listen_with) and of
    ///   [`Handle::ask`](crate::Handle::ask).
    pub fn listen_with(
        &self,
        addr: impl ToSocketAddrs,
        mut options: ListenOptions,
    ) -> io::Result<Listening> {
        let is_everywhere = self.shards.placement() == Placement::ReusePort;
        options.reuse_port |= is_everywhere;
        // Names are resolved on this thread, so that no loop is blocked.
        let addrs: Vec<SocketAddr> = addr.to_socket_addrs()?.collect();
        let listening = self.listen_on(ShardId::FIRST, None, addrs, options.clone())?;
        if !is_everywhere {
            return Ok(listening);
        }
        for shard in self.shards().skip(1) {
            let (id, addrs) = (Some(listening.id), vec![listening.addr]);
            if let Err(error) = self.listen_on(shard, id, addrs, options.clone()) {
                // The id is new, so no other listener is closed.
                let _ = self.close_listener(listening.id);
                return Err(error);
            }
        }
        Ok(listening)
    }

    fn listen_on(
        &self,
        shard: ShardId,
        id: Option<ListenerId>,
        addrs: Vec<SocketAddr>,
        options: ListenOptions,
    ) -> io::Result<Listening> {
        self.existing(shard)?.ask_or_undo(
            move |net| net.listen_as(id, &addrs[..], options),
            |net, unwanted| {
                if let Ok(listening) = unwanted {
                    net.close_own_listener(listening.id);
                }
            },
        )?
    }

    /// Closes a listener on every shard; see
    /// [`Net::close_listener`](crate::Net::close_listener).
    ///
    /// # Errors
    ///
    /// - The errors of [`Handle::ask`](crate::Handle::ask).
    pub fn close_listener(&self, listener: ListenerId) -> io::Result<()> {
        self.ask_all(move |_, net| net.close_own_listener(listener))?;
        Ok(())
    }
}
