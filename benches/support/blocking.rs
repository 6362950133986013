//! The limit to compare with: blocking sockets of the standard library, the
//! same framing, blocks of 256 KiB, a thread for each end.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::messages::Goal;
use super::{Job, PATIENCE};

/// Length of a block.
pub const BLOCK: usize = 256 * 1024;
const PAGE: usize = 4096;

/// A buffer that begins in the middle of a page.
///
/// On AMD Zen 3 `rep movsb` is many times slower if the destination lies 1 to
/// 31 bytes after the source, modulo the page size. The kernel copies with it,
/// and its buffers begin at a page boundary. Large allocations of glibc begin
/// 16 bytes after one.
pub struct Block {
    room: Vec<u8>,
    start: usize,
}

impl Block {
    pub fn aligned() -> Self {
        let room = vec![0; BLOCK + 2 * PAGE];
        let start = room.as_ptr().align_offset(PAGE) + PAGE / 2;
        Self { room, start }
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.room[self.start..][..BLOCK]
    }
}

/// Connects two sockets. Returns the outbound one first. A read that takes
/// longer than `PATIENCE` fails.
pub fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let outbound = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    for stream in [&outbound, &accepted] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((outbound, accepted))
}

/// Writes frames block by block.
pub struct FrameWriter<W> {
    stream: W,
    block: Block,
    filled: usize,
}

impl<W: Write> FrameWriter<W> {
    pub fn new(stream: W) -> Self {
        Self {
            stream,
            block: Block::aligned(),
            filled: 0,
        }
    }

    #[inline]
    pub fn push(&mut self, body: &[u8]) -> io::Result<()> {
        if self.filled + 4 + body.len() > BLOCK {
            self.flush()?;
        }
        let frame = &mut self.block.bytes()[self.filled..][..4 + body.len()];
        frame[..4].copy_from_slice(&(body.len() as u32).to_be_bytes());
        frame[4..].copy_from_slice(body);
        self.filled += frame.len();
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        let filled = std::mem::take(&mut self.filled);
        self.stream.write_all(&self.block.bytes()[..filled])?;
        self.stream.flush()
    }
}

/// Splits frames in place. An incomplete frame moves to the front of the block.
pub struct FrameReader<R> {
    stream: R,
    block: Block,
    filled: usize,
}

impl<R: Read> FrameReader<R> {
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            block: Block::aligned(),
            filled: 0,
        }
    }

    /// Reads once and passes on every complete frame. Returns false at the end
    /// of the stream.
    #[inline]
    pub fn read(&mut self, mut frame: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<bool> {
        let block = self.block.bytes();
        let read = self.stream.read(&mut block[self.filled..])?;
        self.filled += read;
        let mut start = 0;
        while let Some(header) = block[start..self.filled].first_chunk() {
            let end = start + 4 + u32::from_be_bytes(*header) as usize;
            if end > self.filled {
                break;
            }
            frame(&block[start + 4..end])?;
            start = end;
        }
        block.copy_within(start..self.filled, 0);
        self.filled -= start;
        Ok(read > 0)
    }
}

/// One connection, whose other end checks the messages in another thread.
struct Stream<W> {
    writer: FrameWriter<W>,
    socket: TcpStream,
    goal: Arc<Goal>,
    reader: Option<JoinHandle<()>>,
}

impl<W: Write> Job for Stream<W> {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.goal.set(amount);
        for number in 0..amount {
            self.writer.push(self.goal.messages().get(number))?;
        }
        self.writer.flush()?;
        self.goal.wait()
    }
}

impl<W> Drop for Stream<W> {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Sends `amount` messages on one connection.
pub fn stream(size: usize) -> io::Result<Box<dyn Job>> {
    let (outbound, accepted) = pair()?;
    let socket = outbound.try_clone()?;
    Ok(stream_between(size, outbound, accepted, socket))
}

/// Sends `amount` messages from one end of a connection to the other. The
/// connection ends with `socket`.
pub fn stream_between<W, R>(size: usize, from: W, to: R, socket: TcpStream) -> Box<dyn Job>
where
    W: Write + 'static,
    R: Read + Send + 'static,
{
    let goal = Arc::new(Goal::new(size, 1));
    let seen = Arc::clone(&goal);
    let reader = thread::spawn(move || {
        let (mut reader, mut received) = (FrameReader::new(to), 0);
        let mut check = |message: &[u8]| {
            received = seen.take(received, message);
            Ok(())
        };
        loop {
            match reader.read(&mut check) {
                Ok(true) => {}
                Ok(false) => return seen.fail("the stream ended"),
                Err(error) => return seen.fail(format!("a read: {error}")),
            }
        }
    });
    Box::new(Stream {
        writer: FrameWriter::new(from),
        socket,
        goal,
        reader: Some(reader),
    })
}
