//! The delivery checks of sockets. The handlers and sessions of a world report
//! to them.

use super::delivery_check::{DeliveryCheck, PassedBytes, Reference, Source};
use super::event::SocketId;
use super::internet::Internet;
use crate::framing::Framing;

impl Internet {
    /// Starts to check the messages that a socket delivers.
    pub(crate) fn follow(&mut self, id: SocketId, source: Source, framing: &Framing) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            let check = DeliveryCheck::new(source, framing, socket.read);
            socket.delivery = Some(Box::new(check));
        }
    }

    fn delivery(&mut self, id: SocketId) -> Option<&mut DeliveryCheck> {
        self.sockets.get_mut(&id)?.delivery.as_deref_mut()
    }

    /// Reports a change of the framing, from the next message on.
    pub(super) fn change_framing(&mut self, id: SocketId, reference: Reference) {
        if let Some(delivery) = self.delivery(id) {
            delivery.change_framing(reference);
        }
    }

    /// Reports the plaintext that a session has appended. If `is_over`, it is
    /// the session's last.
    pub(crate) fn opened(&mut self, id: SocketId, plaintext: &[u8], is_over: bool) {
        if let Some(delivery) = self.delivery(id) {
            delivery.append(plaintext);
            if is_over {
                delivery.end_session();
            }
        }
    }

    /// Reports the numbers of bytes that a session has sealed and appended to
    /// the wire.
    pub(crate) fn sealed(&mut self, id: SocketId, plaintext: usize, wire: usize) {
        if let Some(delivery) = self.delivery(id) {
            delivery.count_sealed(plaintext, wire);
        }
    }

    /// Reports a delivered message. Returns an error if it is not the next one.
    pub(crate) fn delivered(&mut self, id: SocketId, message: &[u8]) -> Result<(), &'static str> {
        let delivery = self.delivery(id);
        delivery.map_or(Ok(()), |delivery| delivery.deliver(message))
    }

    /// Returns the bytes that are still to be delivered, and the numbers of
    /// bytes that have passed. `None` before [`Internet::follow`].
    pub(crate) fn undelivered(&self, id: SocketId) -> Option<(&[u8], PassedBytes)> {
        let delivery = self.sockets.get(&id)?.delivery.as_deref()?;
        Some((delivery.undelivered(), delivery.passed()))
    }

    /// Discards the undelivered bytes, because no message will be delivered any
    /// more.
    pub(crate) fn forget_undelivered(&mut self, id: SocketId) {
        if let Some(delivery) = self.delivery(id) {
            delivery.clear();
        }
    }
}
