//! The limit in round trips, lines and cycles. The limit in streams is shared
//! with the other benchmarks, in `benches/support`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::baton::Baton;
use crate::support::blocking::{FrameReader, FrameWriter, pair};
use crate::support::messages;
use crate::support::{Job, failed};

/// One end of a connection.
struct End {
    reader: FrameReader<TcpStream>,
    writer: FrameWriter<TcpStream>,
}

impl End {
    fn new(stream: TcpStream) -> io::Result<Self> {
        Ok(Self {
            reader: FrameReader::new(stream.try_clone()?),
            writer: FrameWriter::new(stream),
        })
    }
}

struct Trips {
    trips: messages::Trips,
    asking: End,
    answering: End,
}

impl Job for Trips {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        let (trips, asking, answering) = (&mut self.trips, &mut self.asking, &mut self.answering);
        trips.begin(amount);
        while !trips.is_over() {
            while let Some(question) = trips.ask() {
                asking.writer.push(question)?;
            }
            asking.writer.flush()?;
            let writer = &mut answering.writer;
            answering.reader.read(|question| writer.push(question))?;
            writer.flush()?;
            let take = |answer: &[u8]| {
                trips.take(answer);
                Ok(())
            };
            asking.reader.read(take)?;
        }
        trips.check()
    }
}

/// Makes round trips between two sockets of this thread.
pub fn trips(size: usize, outstanding: u64) -> io::Result<Box<dyn Job>> {
    let (outbound, accepted) = pair()?;
    Ok(Box::new(Trips {
        trips: messages::Trips::new(size, outstanding),
        asking: End::new(outbound)?,
        answering: End::new(accepted)?,
    }))
}

struct Line {
    hops: Vec<(TcpStream, TcpStream)>,
}

impl Job for Line {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        let (mut baton, mut rightwards) = (Baton::begin(amount), true);
        loop {
            if rightwards {
                for (left, right) in &mut self.hops {
                    baton = cross(left, right, baton)?;
                }
            } else {
                for (left, right) in self.hops.iter_mut().rev() {
                    baton = cross(right, left, baton)?;
                }
            }
            rightwards = !rightwards;
            match baton.turn_back() {
                Some(next) => baton = next,
                None => return baton.check(self.hops.len() + 1, amount),
            }
        }
    }
}

fn cross(from: &mut TcpStream, to: &mut TcpStream, baton: Baton) -> io::Result<Baton> {
    let mut frame = [0; 4 + Baton::LEN];
    frame[..4].copy_from_slice(&(Baton::LEN as u32).to_be_bytes());
    frame[4..].copy_from_slice(&baton.encode());
    from.write_all(&frame)?;
    to.read_exact(&mut frame)?;
    Baton::receive(&frame[4..])
}

/// Makes `amount` traversals of a line of sockets in this thread. Each hop is a
/// write and a read.
pub fn line(nodes: usize) -> io::Result<Box<dyn Job>> {
    let hops = (1..nodes).map(|_| pair()).collect::<io::Result<_>>()?;
    Ok(Box::new(Line { hops }))
}

struct Cycles {
    addr: SocketAddr,
}

impl Job for Cycles {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        for _ in 0..amount {
            let mut stream = TcpStream::connect(self.addr)?;
            stream.set_nodelay(true)?;
            stream.shutdown(Shutdown::Write)?;
            if stream.read(&mut [0])? > 0 {
                return Err(failed("an unexpected byte"));
            }
        }
        Ok(())
    }
}

impl Drop for Cycles {
    fn drop(&mut self) {
        // A byte ends the thread of the server.
        if let Ok(mut stream) = TcpStream::connect(self.addr) {
            let _ = stream.write_all(&[1]);
        }
    }
}

/// Makes `amount` connections, one after the other. Each is closed by the end
/// that connected, then by the other.
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
