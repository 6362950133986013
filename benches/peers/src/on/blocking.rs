//! The limit: blocking sockets of the standard library, the same framing, blocks
//! of 256 KiB, a thread for each side.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::Threads;
use crate::job::{Job, PATIENCE, Value, failed};
use crate::messages::{self, Baton, Goal, Messages};

const BLOCK: usize = 256 * 1024;

/// Both ends of one connection. A read that waits too long is an error.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let outbound = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    for stream in [&outbound, &accepted] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((outbound, accepted))
}

/// Frames go out in blocks.
struct FrameWriter {
    stream: TcpStream,
    block: Vec<u8>,
}

impl FrameWriter {
    fn new(stream: TcpStream) -> Self {
        let block = Vec::with_capacity(BLOCK);
        Self { stream, block }
    }

    #[inline]
    fn push(&mut self, body: &[u8]) -> io::Result<()> {
        if self.block.len() + 4 + body.len() > BLOCK {
            self.flush()?;
        }
        self.block
            .extend_from_slice(&(body.len() as u32).to_be_bytes());
        self.block.extend_from_slice(body);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.stream.write_all(&self.block);
        self.block.clear();
        written
    }
}

/// Frames are split in place; what is left of one moves to the front of the block.
struct FrameReader {
    stream: TcpStream,
    block: Vec<u8>,
    filled: usize,
}

impl FrameReader {
    fn new(stream: TcpStream) -> Self {
        let block = vec![0; BLOCK];
        Self {
            stream,
            block,
            filled: 0,
        }
    }

    /// Reads once, and hands out every frame that is whole by then; `false` at the end of the stream.
    #[inline]
    fn read(&mut self, mut frame: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<bool> {
        let read = self.stream.read(&mut self.block[self.filled..])?;
        self.filled += read;
        let mut start = 0;
        while let Some(header) = self.block[start..self.filled].first_chunk() {
            let end = start + 4 + u32::from_be_bytes(*header) as usize;
            if end > self.filled {
                break;
            }
            frame(&self.block[start + 4..end])?;
            start = end;
        }
        self.block.copy_within(start..self.filled, 0);
        self.filled -= start;
        Ok(read > 0)
    }
}

struct Stream {
    writer: FrameWriter,
    goal: Arc<Goal>,
    reader: Option<JoinHandle<()>>,
}

impl Job for Stream {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        self.goal.set(amount);
        for number in 0..amount {
            self.writer.push(self.goal.messages().get(number))?;
        }
        self.writer.flush()?;
        self.goal.wait()?;
        Ok(Vec::new())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.writer.stream.shutdown(Shutdown::Write);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// `amount` messages on one connection.
pub fn stream(size: usize) -> io::Result<Box<dyn Job>> {
    let (outbound, accepted) = pair()?;
    let goal = Arc::new(Goal::new(Messages::of(size), 1));
    let seen = Arc::clone(&goal);
    let reader = thread::spawn(move || {
        let (mut reader, mut had) = (FrameReader::new(accepted), 0);
        let take = |message: &[u8]| {
            had = seen.take(had, message);
            Ok(())
        };
        if let Err(error) = read_all(&mut reader, take) {
            seen.fail(format!("a read: {error}"));
        }
    });
    Ok(Box::new(Stream {
        writer: FrameWriter::new(outbound),
        goal,
        reader: Some(reader),
    }))
}

fn read_all(
    reader: &mut FrameReader,
    mut frame: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    while reader.read(&mut frame)? {}
    Ok(())
}

/// Answers every frame with itself, and all frames of one read in one write.
struct Echo {
    reader: FrameReader,
    writer: FrameWriter,
}

impl Echo {
    fn new(stream: TcpStream) -> io::Result<Self> {
        Ok(Self {
            reader: FrameReader::new(stream.try_clone()?),
            writer: FrameWriter::new(stream),
        })
    }

    fn answer(&mut self) -> io::Result<bool> {
        let writer = &mut self.writer;
        let goes_on = self.reader.read(|frame| writer.push(frame))?;
        writer.flush()?;
        Ok(goes_on)
    }
}

/// Where the echo is.
enum Answering {
    Here(Box<Echo>),
    InThread,
}

struct Trips {
    trips: messages::Trips,
    reader: FrameReader,
    writer: FrameWriter,
    answering: Answering,
}

impl Job for Trips {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let (trips, writer) = (&mut self.trips, &mut self.writer);
        trips.begin(amount);
        while !trips.over() {
            while let Some(question) = trips.ask() {
                writer.push(question)?;
            }
            writer.flush()?;
            if let Answering::Here(echo) = &mut self.answering {
                echo.answer()?;
            }
            let take = |answer: &[u8]| {
                trips.take(answer);
                Ok(())
            };
            if !self.reader.read(take)? {
                return Err(failed("the echo is gone"));
            }
        }
        trips.values()
    }
}

/// Round trips, with the echo in this thread or in another.
pub fn trips(size: usize, outstanding: u64, threads: Threads) -> io::Result<Box<dyn Job>> {
    let (outbound, accepted) = pair()?;
    let mut echo = Echo::new(accepted)?;
    let answering = match threads {
        Threads::One => Answering::Here(Box::new(echo)),
        Threads::Two => {
            // It ends with the connection.
            thread::spawn(move || while let Ok(true) = echo.answer() {});
            Answering::InThread
        }
    };
    Ok(Box::new(Trips {
        trips: messages::Trips::new(size, outstanding),
        reader: FrameReader::new(outbound.try_clone()?),
        writer: FrameWriter::new(outbound),
        answering,
    }))
}

struct Line {
    hops: Vec<(TcpStream, TcpStream)>,
}

impl Job for Line {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let (mut baton, mut last) = (Some(Baton::begin(amount)), Baton::begin(amount));
        let mut rightwards = true;
        while let Some(mut next) = baton {
            for hop in 0..self.hops.len() {
                let hop = if rightwards {
                    hop
                } else {
                    self.hops.len() - 1 - hop
                };
                let (left, right) = &mut self.hops[hop];
                let (from, to) = if rightwards {
                    (left, right)
                } else {
                    (right, left)
                };
                next = cross(from, to, next)?;
            }
            rightwards = !rightwards;
            last = next;
            baton = next.turn_back();
        }
        last.check(self.hops.len() + 1, amount)?;
        Ok(Vec::new())
    }
}

fn cross(from: &mut TcpStream, to: &mut TcpStream, baton: Baton) -> io::Result<Baton> {
    let mut frame = [0; 4 + Baton::LEN];
    frame[..4].copy_from_slice(&(Baton::LEN as u32).to_be_bytes());
    frame[4..].copy_from_slice(&baton.encode());
    from.write_all(&frame)?;
    to.read_exact(&mut frame)?;
    Baton::receive(&frame[4..]).ok_or_else(|| failed("no baton"))
}

/// `amount` traversals of a line of sockets, all in this thread: only a write and a
/// read for each hop.
pub fn line(nodes: usize) -> io::Result<Box<dyn Job>> {
    let hops = (1..nodes).map(|_| pair()).collect::<io::Result<_>>()?;
    Ok(Box::new(Line { hops }))
}

struct Cycles {
    addr: SocketAddr,
}

impl Job for Cycles {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        for _ in 0..amount {
            let mut stream = TcpStream::connect(self.addr)?;
            stream.set_nodelay(true)?;
            stream.shutdown(Shutdown::Write)?;
            if stream.read(&mut [0])? > 0 {
                return Err(failed("a byte that nobody sent"));
            }
        }
        Ok(Vec::new())
    }
}

impl Drop for Cycles {
    fn drop(&mut self) {
        // A connection that sends something ends the host.
        if let Ok(mut stream) = TcpStream::connect(self.addr) {
            let _ = stream.write_all(&[1]);
        }
    }
}

/// `amount` connections, one after the other, each closed by the end that connected
/// and ended by both sides.
pub fn cycles() -> io::Result<Box<dyn Job>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::spawn(move || -> io::Result<()> {
        loop {
            let (mut stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            if stream.read(&mut [0])? > 0 {
                return Ok(());
            }
        }
    });
    Ok(Box::new(Cycles { addr }))
}
