//! The handlers of both ends, on sockets and in the simulator.

use std::net::SocketAddr;
use std::time::Duration;

use peerloop::{ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net};

use super::many::question;

/// How many connects begin at once. Each answer makes room for a further one, so that
/// the backlog of the listener does not overflow.
const AT_ONCE: usize = 256;

/// Sends each message back.
pub(crate) struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if net.send(conn, message).is_err() {
            net.abort(conn);
        }
    }
}

/// Opens connections, and sends a message on each of them in each round.
pub(crate) struct Clients {
    pub(crate) server: SocketAddr,
    pub(crate) to_connect: usize,
    pub(crate) round: u64,
    /// The answers of all rounds.
    pub(crate) answers: usize,
}

impl Clients {
    /// Begins a round. The first one opens the connections.
    pub(crate) fn begin_round(&mut self, net: &mut Net) {
        self.round += 1;
        for conn in net.connections().map(|it| it.id()).collect::<Vec<_>>() {
            self.on_connect(net, conn);
        }
        (0..AT_ONCE).for_each(|_| self.connect(net));
    }

    fn connect(&mut self, net: &mut Net) {
        if self.to_connect > 0 {
            self.to_connect -= 1;
            let mut options = net.connect_options();
            // An address has only some 28,000 ports to connect from.
            let source = ([127, 0, 0, 2 + (self.to_connect % 10) as u8], 0).into();
            options.source = self.server.ip().is_loopback().then_some(source);
            // The limits of the node allow all connections.
            let _ = net.connect_with(self.server, options);
        }
    }
}

impl Handler for Clients {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        if net.send(conn, &question(conn, self.round)).is_err() {
            net.abort(conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, answer: &[u8]) {
        if answer != question(conn, self.round) {
            return net.abort_with_reason(conn, "a wrong answer");
        }
        self.answers += 1;
        self.connect(net);
    }

    fn on_connect_failed(&mut self, net: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        eprintln!("connecting: {error}");
        net.shutdown(Duration::ZERO);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        if reason != DisconnectReason::Shutdown {
            eprintln!("{conn}: {reason}");
            net.shutdown(Duration::ZERO);
        }
    }
}
