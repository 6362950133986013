//! message-io: `FramedTcp`, events in a thread of the node. TCP_NODELAY is not
//! set, because the library does not give access to its sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};

use message_io::network::{Endpoint, NetEvent, SendStatus, Transport};
use message_io::node::{self, NodeEvent, NodeHandler, NodeTask};

use super::loopback;
use crate::support::messages::Goal;
use crate::support::nodes::batches;
use crate::support::{Job, PATIENCE, failed};

/// A node with its thread.
pub struct Running {
    handler: NodeHandler<()>,
    task: NodeTask,
}

impl Running {
    /// Starts a node whose events go to what `react` returns.
    fn new<F>(react: impl FnOnce(NodeHandler<()>) -> F) -> Self
    where
        F: FnMut(NetEvent<'_>) + Send + 'static,
    {
        let (handler, listener) = node::split::<()>();
        let mut react = react(handler.clone());
        let task = listener.for_each_async(move |event| {
            if let NodeEvent::Network(event) = event {
                react(event);
            }
        });
        Self { handler, task }
    }

    fn listen(&self) -> io::Result<SocketAddr> {
        let network = self.handler.network();
        let (_, addr) = network.listen(Transport::FramedTcp, "0.0.0.0:0")?;
        Ok(loopback(addr.port()))
    }

    fn send(&self, to: Endpoint, message: &[u8]) -> io::Result<()> {
        send(&self.handler, to, message)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handler.stop();
        self.task.wait();
    }
}

fn send(handler: &NodeHandler<()>, to: Endpoint, message: &[u8]) -> io::Result<()> {
    match handler.network().send(to, message) {
        SendStatus::Sent => Ok(()),
        status => Err(failed(format!("a send: {status:?}"))),
    }
}

/// Starts a node that answers every message with itself.
pub fn echo() -> io::Result<(Running, SocketAddr)> {
    let echo = Running::new(|handler| {
        move |event: NetEvent<'_>| {
            if let NetEvent::Message(from, message) = event {
                // The client waits for the answer, and fails without it.
                let _ = send(&handler, from, message);
            }
        }
    });
    let addr = echo.listen()?;
    Ok((echo, addr))
}

/// Starts a node that checks what arrives.
fn sink(goal: &Arc<Goal>) -> io::Result<(Running, SocketAddr)> {
    let goal = Arc::clone(goal);
    let mut received = vec![0; 1 + usize::from(u16::MAX)];
    let sink = Running::new(|_| {
        move |event: NetEvent<'_>| {
            if let NetEvent::Message(from, message) = event {
                let received = &mut received[usize::from(from.addr().port())];
                *received = goal.take(*received, message);
            }
        }
    });
    let addr = sink.listen()?;
    Ok((sink, addr))
}

struct Stream {
    source: Running,
    to: Vec<Endpoint>,
    goal: Arc<Goal>,
    _sink: Running,
}

impl Stream {
    fn new(size: usize, connections: usize) -> io::Result<Self> {
        let goal = Arc::new(Goal::new(size, connections));
        let (sink, addr) = sink(&goal)?;
        let source = Running::new(|_| |_: NetEvent<'_>| {});
        let connect = |_| {
            source
                .handler
                .network()
                .connect_sync(Transport::FramedTcp, addr)
        };
        let to = (0..connections).map(|number| Ok(connect(number)?.0));
        let to = to.collect::<io::Result<_>>()?;
        Ok(Self {
            source,
            to,
            goal,
            _sink: sink,
        })
    }
}

impl Job for Stream {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.goal.set(amount);
        for number in 0..amount {
            let message = self.goal.messages().get(number);
            for to in &self.to {
                self.source.send(*to, message)?;
            }
        }
        self.goal.wait()
    }
}

/// Sends `amount` messages on each connection between two nodes.
pub fn stream(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    Ok(Box::new(Stream::new(size, connections)?))
}

struct Broadcast(Stream);

impl Job for Broadcast {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        batches(amount).try_for_each(|batch| self.0.run(batch))
    }
}

/// Sends `amount` messages to each connection, with a call for each.
pub fn broadcast(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    Ok(Box::new(Broadcast(Stream::new(size, connections)?)))
}

struct Cycles {
    cycler: Running,
    addr: SocketAddr,
    left: Arc<AtomicU64>,
    over: Receiver<bool>,
    _server: Running,
}

impl Job for Cycles {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.left.store(amount, Ordering::SeqCst);
        let network = self.cycler.handler.network();
        network.connect(Transport::FramedTcp, self.addr)?;
        match self.over.recv_timeout(PATIENCE) {
            Ok(true) => Ok(()),
            Ok(false) => Err(failed("cannot connect")),
            Err(_) => Err(failed("not all disconnects in time")),
        }
    }
}

/// Makes `amount` connections, one after the other. Each is removed by the end
/// that connected. The other end is notified, and begins the next one.
pub fn cycles() -> io::Result<Box<dyn Job>> {
    let (end, over) = channel();
    let left = Arc::new(AtomicU64::new(0));
    let failure = end.clone();
    let cycler = Running::new(|handler| {
        move |event: NetEvent<'_>| match event {
            NetEvent::Connected(endpoint, true) => {
                handler.network().remove(endpoint.resource_id());
            }
            NetEvent::Connected(_, false) => {
                let _ = failure.send(false);
            }
            _ => {}
        }
    });
    let (connecting, to_end, known) = (
        cycler.handler.clone(),
        Arc::clone(&left),
        Arc::new(OnceLock::new()),
    );
    let own = Arc::clone(&known);
    let server = Running::new(|_| {
        move |event: NetEvent<'_>| {
            let (NetEvent::Disconnected(_), Some(addr)) = (event, own.get()) else {
                return;
            };
            let is_last = to_end.fetch_sub(1, Ordering::SeqCst) == 1;
            let network = connecting.network();
            if is_last || network.connect(Transport::FramedTcp, *addr).is_err() {
                let _ = end.send(is_last);
            }
        }
    });
    let addr: SocketAddr = server.listen()?;
    known.get_or_init(|| addr);
    Ok(Box::new(Cycles {
        cycler,
        addr,
        left,
        over,
        _server: server,
    }))
}
