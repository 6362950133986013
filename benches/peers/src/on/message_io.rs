//! message-io: `FramedTcp`, events in its own thread. TCP_NODELAY cannot be set,
//! because it does not give access to its sockets.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use message_io::network::{Endpoint, NetEvent, SendStatus, Transport};
use message_io::node::{self, NodeEvent, NodeHandler, NodeTask};

use super::loopback;
use super::peerloop::broadcast::batches;
use super::peerloop::start::start_and_stop;
use crate::job::{Job, Metric, PATIENCE, Value, failed};
use crate::messages::{self, Baton, Goal, Messages};

/// A node with its thread, until it is dropped.
pub struct Running {
    handler: NodeHandler<()>,
    task: NodeTask,
}

impl Running {
    pub fn new<F>(react: impl FnOnce(NodeHandler<()>) -> F) -> Self
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

    pub fn listen(&self) -> io::Result<u16> {
        let network = self.handler.network();
        let (_, addr) = network.listen(Transport::FramedTcp, "0.0.0.0:0")?;
        Ok(addr.port())
    }

    fn connect(&self, port: u16) -> io::Result<Endpoint> {
        let network = self.handler.network();
        let (endpoint, _) = network.connect_sync(Transport::FramedTcp, loopback(port))?;
        Ok(endpoint)
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

/// A node that answers every message with itself.
pub fn echo() -> Running {
    Running::new(|handler| {
        move |event: NetEvent<'_>| {
            if let NetEvent::Message(from, message) = event {
                // The other node notices a lost answer.
                let _ = send(&handler, from, message);
            }
        }
    })
}

/// A node that checks and counts what comes, and the port it listens on.
fn sink(goal: &Arc<Goal>) -> io::Result<(Running, u16)> {
    let goal = Arc::clone(goal);
    let mut had = vec![0; 1 + usize::from(u16::MAX)];
    let sink = Running::new(|_| {
        move |event: NetEvent<'_>| {
            if let NetEvent::Message(from, message) = event {
                let had = &mut had[usize::from(from.addr().port())];
                *had = goal.take(*had, message);
            }
        }
    });
    let port = sink.listen()?;
    Ok((sink, port))
}

struct Stream {
    source: Running,
    to: Vec<Endpoint>,
    goal: Arc<Goal>,
    _sink: Running,
}

impl Stream {
    fn new(size: usize, connections: usize) -> io::Result<Self> {
        let goal = Arc::new(Goal::new(Messages::of(size), connections));
        let (sink, port) = sink(&goal)?;
        let source = Running::new(|_| |_: NetEvent<'_>| {});
        let connect = |_| source.connect(port);
        let to = (0..connections).map(connect).collect::<io::Result<_>>()?;
        Ok(Self {
            source,
            to,
            goal,
            _sink: sink,
        })
    }

    fn send_all(&self, amount: u64) -> io::Result<()> {
        self.goal.set(amount);
        for number in 0..amount {
            let message = self.goal.messages().get(number);
            for to in &self.to {
                self.source.send(*to, message)?;
            }
        }
        Ok(())
    }
}

impl Job for Stream {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        self.send_all(amount)?;
        self.goal.wait()?;
        Ok(Vec::new())
    }
}

/// `amount` messages on each of so many connections from one node to another.
pub fn stream(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    Ok(Box::new(Stream::new(size, connections)?))
}

struct Speech(Stream);

impl Job for Speech {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let mut queueing = Duration::ZERO;
        for batch in batches(amount) {
            let begun = Instant::now();
            self.0.send_all(batch)?;
            queueing += begun.elapsed();
            self.0.goal.wait()?;
        }
        let deliveries = amount as f64 * self.0.to.len() as f64;
        let value = queueing.as_nanos() as f64 / deliveries;
        Ok(vec![(Metric::Queueing, value)])
    }
}

/// `amount` messages to each of so many connections: a call for each.
pub fn broadcast(size: usize, peers: usize) -> io::Result<Box<dyn Job>> {
    Ok(Box::new(Speech(Stream::new(size, peers)?)))
}

struct Trips {
    trips: Arc<Mutex<messages::Trips>>,
    over: Receiver<()>,
    to: Endpoint,
    pinger: Running,
    _echo: Running,
}

impl Job for Trips {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        {
            let mut trips = lock(&self.trips);
            trips.begin(amount);
            ask(&self.pinger.handler, self.to, &mut trips);
        }
        let waited = self.over.recv_timeout(PATIENCE);
        waited.map_err(|_| failed("the answers did not come"))?;
        lock(&self.trips).values()
    }
}

fn lock(trips: &Mutex<messages::Trips>) -> MutexGuard<'_, messages::Trips> {
    trips.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask(handler: &NodeHandler<()>, to: Endpoint, trips: &mut messages::Trips) {
    while let Some(question) = trips.ask() {
        // A lost message is noticed at the end.
        let _ = send(handler, to, question);
    }
}

/// Round trips between two nodes, which have a thread each.
pub fn trips(size: usize, outstanding: u64) -> io::Result<Box<dyn Job>> {
    let echo = echo();
    let port = echo.listen()?;
    let trips = Arc::new(Mutex::new(messages::Trips::new(size, outstanding)));
    let (tell, over) = channel();
    let asking = Arc::clone(&trips);
    let pinger = Running::new(|handler| {
        move |event: NetEvent<'_>| {
            if let NetEvent::Message(from, message) = event {
                let mut trips = lock(&asking);
                trips.take(message);
                ask(&handler, from, &mut trips);
                if trips.over() {
                    // The send fails when the job is over.
                    let _ = tell.send(());
                }
            }
        }
    });
    let to = pinger.connect(port)?;
    Ok(Box::new(Trips {
        trips,
        over,
        to,
        pinger,
        _echo: echo,
    }))
}

struct Line {
    nodes: Vec<Running>,
    to: Endpoint,
    last: Receiver<Baton>,
}

impl Job for Line {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        self.nodes[0].send(self.to, &Baton::begin(amount).encode())?;
        let baton = self.last.recv_timeout(PATIENCE);
        let baton = baton.map_err(|_| failed("the baton was lost"))?;
        baton.check(self.nodes.len(), amount)?;
        Ok(Vec::new())
    }
}

/// A node that passes the baton on to the neighbour it did not come from, or back.
fn runner(last: Sender<Baton>) -> Running {
    Running::new(|handler| {
        let mut neighbours: Vec<Endpoint> = Vec::new();
        move |event: NetEvent<'_>| match event {
            NetEvent::Connected(endpoint, _) | NetEvent::Accepted(endpoint, _) => {
                neighbours.push(endpoint);
            }
            NetEvent::Message(from, message) => {
                let Some(baton) = Baton::receive(message) else {
                    return;
                };
                let other = neighbours.iter().find(|neighbour| **neighbour != from);
                let (to, next) = match other {
                    Some(other) => (*other, Some(baton)),
                    None => (from, baton.turn_back()),
                };
                // A lost baton is noticed by the wait for it.
                let _ = match next {
                    Some(next) => send(&handler, to, &next.encode()).is_ok(),
                    None => last.send(baton).is_ok(),
                };
            }
            NetEvent::Disconnected(_) => {}
        }
    })
}

/// `amount` traversals of a line of nodes, each with its own threads.
pub fn line(nodes: usize) -> io::Result<Box<dyn Job>> {
    let (sender, last) = channel();
    let runners: Vec<Running> = (0..nodes).map(|_| runner(sender.clone())).collect();
    let mut to = None;
    for (left, right) in runners.iter().zip(&runners[1..]) {
        let endpoint = left.connect(right.listen()?)?;
        to.get_or_insert(endpoint);
    }
    Ok(Box::new(Line {
        nodes: runners,
        to: to.ok_or_else(|| failed("a line without hops"))?,
        last,
    }))
}

struct Cycles {
    cycler: Running,
    port: u16,
    ended: Receiver<()>,
    connected: Receiver<bool>,
    _host: Running,
}

impl Job for Cycles {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        for _ in 0..amount {
            let network = self.cycler.handler.network();
            let addr = loopback(self.port);
            let (endpoint, _) = network.connect(Transport::FramedTcp, addr)?;
            if !matches!(self.connected.recv_timeout(PATIENCE), Ok(true)) {
                return Err(failed("cannot connect"));
            }
            network.remove(endpoint.resource_id());
            let ended = self.ended.recv_timeout(PATIENCE);
            ended.map_err(|_| failed("an end was not noticed"))?;
        }
        Ok(Vec::new())
    }
}

/// `amount` connections, one after the other, each removed by the end that
/// connected, and its end noticed by the other side.
pub fn cycles() -> io::Result<Box<dyn Job>> {
    let (end, ended) = channel();
    let (connect, connected) = channel();
    let host = Running::new(|_| {
        move |event: NetEvent<'_>| {
            if let NetEvent::Disconnected(_) = event {
                let _ = end.send(());
            }
        }
    });
    let port = host.listen()?;
    let cycler = Running::new(|_| {
        move |event: NetEvent<'_>| {
            if let NetEvent::Connected(_, worked) = event {
                let _ = connect.send(worked);
            }
        }
    });
    Ok(Box::new(Cycles {
        cycler,
        port,
        ended,
        connected,
        _host: host,
    }))
}

struct Starts;

impl Job for Starts {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let (mut start, mut stop) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..amount {
            let begun = Instant::now();
            let node = echo();
            node.listen()?;
            start += begun.elapsed();
            let begun = Instant::now();
            drop(node);
            stop += begun.elapsed();
        }
        Ok(start_and_stop(amount, start, stop))
    }
}

/// `amount` nodes that are made, listen, and stop.
pub fn starts() -> io::Result<Box<dyn Job>> {
    Ok(Box::new(Starts))
}
