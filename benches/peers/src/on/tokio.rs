//! tokio without a library on top: `Framed` with `LengthDelimitedCodec` on a
//! `TcpStream`, a task for each end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::Threads;
use super::peerloop::broadcast::batches;
use super::runtime::runtime;
use crate::job::{Job, Value, failed};
use crate::messages::{self, Baton, Goal, Messages};

type Wire = Framed<TcpStream, LengthDelimitedCodec>;

fn framed(stream: TcpStream) -> io::Result<Wire> {
    stream.set_nodelay(true)?;
    Ok(Framed::new(stream, LengthDelimitedCodec::new()))
}

/// Both ends of one connection, the outbound one first.
async fn pair(listener: &TcpListener) -> io::Result<(Wire, Wire)> {
    let outbound = TcpStream::connect(listener.local_addr()?).await?;
    let (accepted, _) = listener.accept().await?;
    Ok((framed(outbound)?, framed(accepted)?))
}

async fn listener() -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await
}

/// Checks and counts what comes.
async fn receive(mut wire: Wire, goal: Arc<Goal>) {
    let mut had = 0;
    while let Some(message) = wire.next().await {
        match message {
            Ok(message) => had = goal.take(had, &message),
            Err(error) => return goal.fail(format!("a read: {error}")),
        }
    }
}

/// Sends this many messages on each request.
async fn send(mut wire: Wire, goal: Arc<Goal>, mut amounts: UnboundedReceiver<u64>) {
    while let Some(amount) = amounts.recv().await {
        if let Err(error) = send_all(&mut wire, goal.messages(), amount).await {
            return goal.fail(format!("a send: {error}"));
        }
    }
}

async fn send_all(wire: &mut Wire, messages: &Messages, amount: u64) -> io::Result<()> {
    for number in 0..amount {
        wire.feed(messages.get(number).clone()).await?;
    }
    flush(wire).await
}

/// Decides for which messages the wire is flushed.
async fn flush(wire: &mut Wire) -> io::Result<()> {
    SinkExt::<Bytes>::flush(wire).await
}

struct Stream {
    _runtime: Runtime,
    goal: Arc<Goal>,
    senders: Vec<UnboundedSender<u64>>,
}

impl Job for Stream {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        self.goal.set(amount);
        for sender in &self.senders {
            sender
                .send(amount)
                .map_err(|_| failed("a sender is gone"))?;
        }
        self.goal.wait()?;
        Ok(Vec::new())
    }
}

/// `amount` messages on each of so many connections, on a runtime with two threads.
pub fn stream(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    let runtime = runtime(Threads::Two)?;
    let goal = Arc::new(Goal::new(Messages::of(size), connections));
    let senders = runtime.block_on(async {
        let listener = listener().await?;
        let mut senders = Vec::new();
        for _ in 0..connections {
            let (sending, receiving) = pair(&listener).await?;
            let (sender, amounts) = unbounded_channel();
            tokio::spawn(receive(receiving, Arc::clone(&goal)));
            tokio::spawn(send(sending, Arc::clone(&goal), amounts));
            senders.push(sender);
        }
        io::Result::Ok(senders)
    })?;
    Ok(Box::new(Stream {
        _runtime: runtime,
        goal,
        senders,
    }))
}

struct Speech {
    runtime: Runtime,
    goal: Arc<Goal>,
    wires: Vec<Wire>,
}

impl Job for Speech {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        for batch in batches(amount) {
            self.goal.set(batch);
            self.runtime.block_on(async {
                for wire in &mut self.wires {
                    send_all(wire, self.goal.messages(), batch).await?;
                }
                io::Result::Ok(())
            })?;
            self.goal.wait()?;
        }
        Ok(Vec::new())
    }
}

/// `amount` messages to each of so many connections, from one task.
pub fn broadcast(size: usize, peers: usize) -> io::Result<Box<dyn Job>> {
    let runtime = runtime(Threads::Two)?;
    let goal = Arc::new(Goal::new(Messages::of(size), peers));
    let wires = runtime.block_on(async {
        let listener = listener().await?;
        let mut wires = Vec::new();
        for _ in 0..peers {
            let (sending, receiving) = pair(&listener).await?;
            tokio::spawn(receive(receiving, Arc::clone(&goal)));
            wires.push(sending);
        }
        io::Result::Ok(wires)
    })?;
    Ok(Box::new(Speech {
        runtime,
        goal,
        wires,
    }))
}

/// Answers every message with itself, and all messages of one read in one write.
async fn echo(mut wire: Wire) -> io::Result<()> {
    while let Some(message) = wire.next().await {
        wire.feed(message?.freeze()).await?;
        if wire.read_buffer().is_empty() {
            flush(&mut wire).await?;
        }
    }
    Ok(())
}

struct Trips {
    runtime: Runtime,
    trips: messages::Trips,
    wire: Wire,
}

impl Job for Trips {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let (trips, wire) = (&mut self.trips, &mut self.wire);
        trips.begin(amount);
        let asking = async {
            while !trips.over() {
                while let Some(question) = trips.ask() {
                    wire.feed(question.clone()).await?;
                }
                flush(wire).await?;
                take_answers(trips, wire).await?;
            }
            io::Result::Ok(())
        };
        self.runtime.block_on(asking)?;
        self.trips.values()
    }
}

/// Takes the next answer, and all that came with it.
async fn take_answers(trips: &mut messages::Trips, wire: &mut Wire) -> io::Result<()> {
    loop {
        let answer = wire.next().await;
        trips.take(&answer.ok_or_else(|| failed("the echo is gone"))??);
        if wire.read_buffer().is_empty() {
            return Ok(());
        }
    }
}

/// Round trips between two tasks of one runtime.
pub fn trips(size: usize, outstanding: u64, threads: Threads) -> io::Result<Box<dyn Job>> {
    let runtime = runtime(threads)?;
    let wire = runtime.block_on(async {
        let (asking, answering) = pair(&listener().await?).await?;
        tokio::spawn(echo(answering));
        io::Result::Ok(asking)
    })?;
    Ok(Box::new(Trips {
        runtime,
        trips: messages::Trips::new(size, outstanding),
        wire,
    }))
}

/// Passes the baton on to the neighbour it did not come from, or back.
async fn run_along(
    mut left: Option<Wire>,
    mut right: Option<Wire>,
    last: UnboundedSender<Baton>,
) -> io::Result<()> {
    loop {
        let (message, from_left) = tokio::select! {
            message = next(&mut left) => (message, true),
            message = next(&mut right) => (message, false),
        };
        let Some(message) = message else {
            return Ok(());
        };
        let baton = Baton::receive(&message?).ok_or_else(|| failed("no baton"))?;
        let (from, other) = if from_left {
            (&mut left, &mut right)
        } else {
            (&mut right, &mut left)
        };
        let (to, next) = match other {
            Some(other) => (Some(other), Some(baton)),
            None => (from.as_mut(), baton.turn_back()),
        };
        match (to, next) {
            (Some(to), Some(next)) => to.send(message_of(next)).await?,
            _ => last.send(baton).map_err(|_| failed("nobody waits"))?,
        }
    }
}

/// The next message of a wire. Without a wire it never completes.
async fn next(wire: &mut Option<Wire>) -> Option<io::Result<bytes::BytesMut>> {
    match wire {
        Some(wire) => wire.next().await,
        None => std::future::pending().await,
    }
}

fn message_of(baton: Baton) -> Bytes {
    Bytes::copy_from_slice(&baton.encode())
}

struct Line {
    runtime: Runtime,
    first: Wire,
    nodes: usize,
    last: UnboundedReceiver<Baton>,
}

impl Job for Line {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let running = async {
            // The first node is this task: what comes back to it, it sends out again.
            let mut baton = Some(Baton::begin(amount));
            while let Some(next) = baton {
                self.first.send(message_of(next)).await?;
                tokio::select! {
                    last = self.last.recv() => return last.ok_or_else(|| failed("the line is gone")),
                    message = self.first.next() => {
                        let message = message.ok_or_else(|| failed("the line is gone"))??;
                        let back = Baton::receive(&message).ok_or_else(|| failed("no baton"))?;
                        baton = back.turn_back();
                        if baton.is_none() {
                            return Ok(back);
                        }
                    }
                }
            }
            Err(failed("the baton was lost"))
        };
        let baton = self.runtime.block_on(running)?;
        baton.check(self.nodes, amount)?;
        Ok(Vec::new())
    }
}

/// `amount` traversals of a line of so many tasks.
pub fn line(nodes: usize, threads: Threads) -> io::Result<Box<dyn Job>> {
    let runtime = runtime(threads)?;
    let (sender, last) = unbounded_channel();
    let first = runtime.block_on(async {
        let listener = listener().await?;
        let (first, mut left) = pair(&listener).await?;
        for number in 1..nodes {
            let is_last = number + 1 == nodes;
            let (right, next_left) = if is_last {
                (None, None)
            } else {
                let (right, next_left) = pair(&listener).await?;
                (Some(right), Some(next_left))
            };
            tokio::spawn(run_along(Some(left), right, sender.clone()));
            match next_left {
                Some(next) => left = next,
                None => break,
            }
        }
        io::Result::Ok(first)
    })?;
    Ok(Box::new(Line {
        runtime,
        first,
        nodes,
        last,
    }))
}

struct Cycles {
    runtime: Runtime,
    addr: SocketAddr,
    _host: JoinHandle<io::Result<()>>,
}

impl Job for Cycles {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        self.runtime.block_on(async {
            for _ in 0..amount {
                let stream = TcpStream::connect(self.addr).await?;
                let mut wire = framed(stream)?;
                SinkExt::<Bytes>::close(&mut wire).await?;
                if wire.next().await.is_some() {
                    return Err(failed("a message that nobody sent"));
                }
            }
            Ok(())
        })?;
        Ok(Vec::new())
    }
}

/// `amount` connections, one after the other, each closed by the end that connected
/// and ended by both sides.
pub fn cycles() -> io::Result<Box<dyn Job>> {
    let runtime = runtime(Threads::Two)?;
    let (addr, host) = runtime.block_on(async {
        let listener = listener().await?;
        let addr = listener.local_addr()?;
        let host = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                // As a server has it: a task for each.
                tokio::spawn(async { framed(stream)?.next().await.transpose() });
            }
        });
        io::Result::Ok((addr, host))
    })?;
    Ok(Box::new(Cycles {
        runtime,
        addr,
        _host: host,
    }))
}

/// Answers every inbound connection with a task. Returns the address.
pub async fn serve_echo() -> io::Result<SocketAddr> {
    let listener = listener().await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(echo(framed(stream)?));
        }
        #[expect(unreachable_code, reason = "says what the errors are")]
        io::Result::Ok(())
    });
    Ok(addr)
}
