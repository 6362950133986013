//! The delivery checks of sockets, fed by the world's handlers and sessions.

use super::delivery_check::{DeliveryCheck, PassedBytes, Source};
use super::event::SocketId;
use super::internet::Internet;
use crate::framing::Framing;

impl Internet {
    /// Begins to check what a socket delivers.
    pub(crate) fn follow(&mut self, id: SocketId, source: Source, framing: &Framing) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.delivery = Some(Box::new(DeliveryCheck::new(source, framing)));
        }
    }

    fn delivery(&mut self, id: SocketId) -> Option<&mut DeliveryCheck> {
        self.sockets.get_mut(&id)?.delivery.as_deref_mut()
    }

    /// A session has opened these bytes. With `is_over` they are its last.
    pub(crate) fn opened(&mut self, id: SocketId, plaintext: &[u8], is_over: bool) {
        if let Some(delivery) = self.delivery(id) {
            delivery.append(plaintext);
            if is_over {
                delivery.end_session();
            }
        }
    }

    /// A session has sealed so many bytes, and put so many on the wire.
    pub(crate) fn sealed(&mut self, id: SocketId, plaintext: usize, wire: usize) {
        if let Some(delivery) = self.delivery(id) {
            delivery.count_sealed(plaintext, wire);
        }
    }

    /// A message was delivered, which must be the next one.
    pub(crate) fn delivered(&mut self, id: SocketId, message: &[u8]) -> Result<(), &'static str> {
        let delivery = self.delivery(id);
        delivery.map_or(Ok(()), |delivery| delivery.deliver(message))
    }

    /// Returns the bytes that are to be delivered, and how many have passed;
    /// `None` before [`Internet::follow`].
    pub(crate) fn undelivered(&self, id: SocketId) -> Option<(&[u8], PassedBytes)> {
        let delivery = self.sockets.get(&id)?.delivery.as_deref()?;
        Some((delivery.undelivered(), delivery.passed()))
    }

    /// Nothing will be delivered any more.
    pub(crate) fn forget_undelivered(&mut self, id: SocketId) {
        if let Some(delivery) = self.delivery(id) {
            delivery.clear();
        }
    }
}
