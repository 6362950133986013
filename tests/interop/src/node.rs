//! A peerloop node in another thread, and the handler that most tests use.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use peerloop::config::OnPanic;
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handle, Handler, Net, Node,
    RunningNode, TimerId,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::in_time;
use crate::plan::Plan;

/// A node in its thread. Dropping it ends both, and resumes a panic of its
/// handler.
pub struct LoopNode<H: Handler> {
    pub handle: Handle<H>,
    running: Option<RunningNode<H>>,
}

impl<H: Handler + Send + 'static> LoopNode<H> {
    pub fn start(config: Config, handler: H) -> Self {
        let config = Config {
            on_panic: OnPanic::Unwind,
            ..config
        };
        let node = Node::new(config, handler).expect("a node");
        let running = node.spawn().expect("a thread");
        Self {
            handle: running.handle(),
            running: Some(running),
        }
    }

    /// Listens on a port of the system's choice.
    pub fn listen(&self) -> SocketAddr {
        let listening = self.ask(|_, net| net.listen("127.0.0.1:0"));
        listening.expect("a listener").addr
    }

    pub fn connect(&self, addr: SocketAddr) -> ConnId {
        self.handle.connect(addr).expect("a connect")
    }

    pub fn ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut H, &mut Net) -> R + Send + 'static,
    ) -> R {
        self.handle.ask(call).expect("the node runs")
    }
}

impl<H: Handler> Drop for LoopNode<H> {
    fn drop(&mut self) {
        self.handle.shutdown(Duration::ZERO);
        if let Some(running) = self.running.take()
            && !thread::panicking()
        {
            running.join().expect("the node ran to its end");
        }
    }
}

/// A report of an [`Exchange`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    Connected(ConnId),
    /// All messages of the plan have arrived.
    Complete,
    /// A message is not the next one of the plan, or something failed.
    Wrong(String),
    Disconnected(DisconnectReason),
}

/// Sends one plan as fast as the peer reads, and compares received messages
/// with another plan. It has one connection at a time.
pub struct Exchange {
    outgoing: Plan,
    incoming: Plan,
    /// Pauses for this time after every 64th message, unless it is zero.
    pause: Duration,
    reports: UnboundedSender<Report>,
}

impl Exchange {
    pub fn new(outgoing: Plan, incoming: Plan) -> (Self, Reports) {
        Self::pausing(outgoing, incoming, Duration::ZERO)
    }

    /// Returns an exchange that pauses for this time after every 64th message.
    pub fn pausing(outgoing: Plan, incoming: Plan, pause: Duration) -> (Self, Reports) {
        let (reports, receiver) = unbounded_channel();
        let exchange = Self {
            outgoing,
            incoming,
            pause,
            reports,
        };
        (exchange, Reports(receiver))
    }

    /// Returns the number of messages that were not sent.
    pub fn unsent(&self) -> usize {
        self.outgoing.len()
    }

    fn report(&self, report: Report) {
        // The receiver is dropped at the end of the test.
        let _ = self.reports.send(report);
    }
}

impl Handler for Exchange {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.report(Report::Connected(conn));
        self.on_drain(net, conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let number = self.incoming.len();
        match self.incoming.next() {
            Some(expected) if expected == message => {}
            Some(expected) => {
                let (expected, found) = (expected.len(), message.len());
                let text = format!("{number} left: {found} bytes, {expected} were expected");
                return self.report(Report::Wrong(text));
            }
            None => return self.report(Report::Wrong("an unexpected message".into())),
        }
        if self.incoming.len() == 0 {
            self.report(Report::Complete);
        }
        if !self.pause.is_zero() && number.is_multiple_of(64) {
            net.pause(conn);
            net.set_timer(self.pause, 0);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        while net.is_writable(conn) {
            let number = self.outgoing.len();
            let Some(message) = self.outgoing.next() else {
                return;
            };
            // Alternates between both ways, so that the queue has copied and
            // shared bodies.
            let result = if number.is_multiple_of(2) {
                net.send(conn, &message)
            } else {
                net.send(conn, message)
            };
            if let Err(error) = result {
                return self.report(Report::Wrong(format!("a send was refused: {error}")));
            }
        }
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.report(Report::Wrong(format!("cannot connect: {error}")));
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.report(Report::Disconnected(reason));
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        if let Some(paused) = net.connections().next().map(|conn| conn.id()) {
            net.resume(paused);
        }
    }
}

/// The reports of an [`Exchange`].
pub struct Reports(UnboundedReceiver<Report>);

impl Reports {
    /// Returns the next report.
    #[track_caller]
    pub fn report(&mut self) -> impl Future<Output = Report> {
        let next = in_time("a report", self.0.recv());
        async { next.await.expect("the handler was not dropped") }
    }

    /// Returns the connection that is established next.
    #[track_caller]
    pub fn connection(&mut self) -> impl Future<Output = ConnId> {
        let next = self.report();
        async {
            match next.await {
                Report::Connected(conn) => conn,
                other => panic!("{other:?} instead of a connection"),
            }
        }
    }

    /// Returns all further reports. The node must have been dropped.
    pub async fn rest(mut self) -> Vec<Report> {
        let mut rest = Vec::new();
        while let Some(report) = in_time("the node's end", self.0.recv()).await {
            rest.push(report);
        }
        rest
    }
}
