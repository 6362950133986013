//! Boxed handlers.

use std::error::Error;
use std::net::SocketAddr;

use super::{Admission, Handler, SendOutcome};
use crate::addr::ConnInfo;
use crate::error::{ConnectError, DisconnectReason};
use crate::id::{ConnId, SourceId, TimerId, UdpId};
use crate::net::Net;
use crate::session::Transport;
use crate::sys::Readiness;

/// Forwards every callback to the boxed handler.
impl<H: Handler + ?Sized> Handler for Box<H> {
    fn on_start(&mut self, net: &mut Net) {
        (**self).on_start(net);
    }

    fn on_accept(&mut self, net: &mut Net, info: &ConnInfo) -> Admission {
        (**self).on_accept(net, info)
    }

    fn transport(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        (**self).transport(net, conn, info)
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        (**self).on_connect(net, conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        (**self).on_message(net, conn, message);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        (**self).on_drain(net, conn);
    }

    fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, outcome: SendOutcome) {
        (**self).on_sent(net, conn, token, outcome);
    }

    fn on_read_closed(&mut self, net: &mut Net, conn: ConnId) {
        (**self).on_read_closed(net, conn);
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        (**self).on_connect_failed(net, conn, info, error);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        (**self).on_disconnect(net, conn, reason);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        (**self).on_timer(net, timer, key);
    }

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, key: u64) {
        (**self).on_conn_timer(net, conn, key);
    }

    fn on_datagram(&mut self, net: &mut Net, udp: UdpId, from: SocketAddr, datagram: &[u8]) {
        (**self).on_datagram(net, udp, from, datagram);
    }

    fn on_udp_drain(&mut self, net: &mut Net, udp: UdpId) {
        (**self).on_udp_drain(net, udp);
    }

    fn on_ready(&mut self, net: &mut Net, source: SourceId, readiness: Readiness) {
        (**self).on_ready(net, source, readiness);
    }

    fn on_turn(&mut self, net: &mut Net) {
        (**self).on_turn(net);
    }
}
