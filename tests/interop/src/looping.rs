//! A peerloop node in another thread, and the handler that most tests use.

use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handle, Handler, Net, Node,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::plan::Plan;
use crate::soon;

/// A node in its thread. Dropping it ends both.
pub struct Looping<H: Handler> {
    pub handle: Handle<H>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl<H: Handler + Send + 'static> Looping<H> {
    pub fn start(config: Config, handler: H) -> Self {
        let mut node = Node::new(config, handler).expect("a node");
        let handle = node.handle();
        let thread = Some(thread::spawn(move || node.run()));
        Self { handle, thread }
    }

    /// Listens on a port of the system's choice.
    pub fn listen(&self) -> SocketAddr {
        let listening = self.ask(|_, net| net.listen("127.0.0.1:0"));
        listening.expect("a listener").addr
    }

    pub fn connect(&self, addr: SocketAddr) -> ConnId {
        self.ask(move |_, net| net.connect(addr))
            .expect("a connect")
    }

    pub fn ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut H, &mut Net) -> R + Send + 'static,
    ) -> R {
        self.handle.ask(call).expect("the node lives")
    }
}

impl<H: Handler> Drop for Looping<H> {
    fn drop(&mut self) {
        self.handle.shutdown(Duration::ZERO);
        let Some(thread) = self.thread.take() else {
            return;
        };
        match thread.join() {
            Ok(result) => result.expect("the loop runs to its end"),
            Err(panic) if !thread::panicking() => resume_unwind(panic),
            Err(_) => {}
        }
    }
}

/// A report of an [`Exchange`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    Connected(ConnId),
    /// Every message that was planned has arrived.
    Complete,
    /// A message arrived that was not planned, or not then.
    Wrong(String),
    Disconnected(DisconnectReason),
}

/// Sends one plan as fast as the peer takes it, and compares what arrives with
/// another. For one connection at a time.
pub struct Exchange {
    outgoing: Plan,
    incoming: Plan,
    /// Pause for so long before every message whose number divides by 64; never when it is zero.
    dawdle: Duration,
    reports: UnboundedSender<Report>,
}

impl Exchange {
    pub fn new(outgoing: Plan, incoming: Plan) -> (Self, Reports) {
        Self::dawdling(outgoing, incoming, Duration::ZERO)
    }

    /// An exchange that pauses now and then before it reads on.
    pub fn dawdling(outgoing: Plan, incoming: Plan, dawdle: Duration) -> (Self, Reports) {
        let (reports, receiver) = unbounded_channel();
        let exchange = Self {
            outgoing,
            incoming,
            dawdle,
            reports,
        };
        (exchange, Reports(receiver))
    }

    /// How many messages it has not sent yet.
    pub fn unsent(&self) -> usize {
        self.outgoing.len()
    }

    fn report(&self, report: Report) {
        // The send fails only when the test is over.
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
                let text =
                    format!("{number} to go: {found} bytes instead of {expected}, or others");
                return self.report(Report::Wrong(text));
            }
            None => return self.report(Report::Wrong("one too many".into())),
        }
        if self.incoming.len() == 0 {
            self.report(Report::Complete);
        }
        if !self.dawdle.is_zero() && number.is_multiple_of(64) {
            net.pause(conn);
            net.set_timer(self.dawdle, 0);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        while net.is_writable(conn) {
            let number = self.outgoing.len();
            let Some(message) = self.outgoing.next() else {
                return;
            };
            // Both ways of sending, in turn, so that copied and chained bodies share a queue.
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

    fn on_timer(&mut self, net: &mut Net, _: peerloop::TimerId, _: u64) {
        let paused: Vec<ConnId> = net.connections().map(|c| c.id()).collect();
        for conn in paused {
            net.resume(conn);
        }
    }
}

/// The reports of an [`Exchange`].
pub struct Reports(UnboundedReceiver<Report>);

impl Reports {
    #[track_caller]
    pub fn report(&mut self) -> impl Future<Output = Report> {
        let next = soon("a report", self.0.recv());
        async { next.await.expect("the handler lives") }
    }

    /// The connection that is established next.
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

    /// All further reports. The node must have been dropped.
    pub async fn rest(mut self) -> Vec<Report> {
        let mut rest = Vec::new();
        while let Some(report) = soon("the node's end", self.0.recv()).await {
            rest.push(report);
        }
        rest
    }
}
