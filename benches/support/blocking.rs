//! The limit to compare with: two plain blocking threads, the same framing, blocks of 256 KiB.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

const BLOCK: usize = 256 * 1024;

/// A connection whose other end, in another thread, answers with one byte after
/// every `messages` frames.
pub struct BlockingPair {
    stream: TcpStream,
    reader: Option<JoinHandle<io::Result<()>>>,
}

impl BlockingPair {
    pub fn new(messages: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let stream = TcpStream::connect(listener.local_addr()?)?;
        stream.set_nodelay(true)?;
        let (peer, _) = listener.accept()?;
        peer.set_nodelay(true)?;
        let reader = Some(thread::spawn(move || receive(peer, messages)));
        Ok(Self { stream, reader })
    }

    /// Sends that many frames and waits for the answer.
    pub fn transfer(&mut self, messages: u64, body: &[u8]) -> io::Result<()> {
        send(&mut self.stream, messages, body)
    }
}

impl Drop for BlockingPair {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Sends that many frames, block by block, and waits for the answer.
pub fn send(stream: &mut (impl Read + Write), messages: u64, body: &[u8]) -> io::Result<()> {
    let mut block = Vec::with_capacity(BLOCK);
    let frame = 4 + body.len();
    for _ in 0..messages {
        if block.len() + frame > BLOCK {
            stream.write_all(&block)?;
            block.clear();
        }
        block.extend_from_slice(&(body.len() as u32).to_be_bytes());
        block.extend_from_slice(black_box(body));
    }
    stream.write_all(&block)?;
    stream.flush()?;
    stream.read_exact(&mut [0])
}

/// Splits frames in place, and answers after every so many. An incomplete frame
/// moves to the front of the block.
pub fn receive(mut stream: impl Read + Write, messages: u64) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let (mut filled, mut count) = (0, 0);
    loop {
        let read = stream.read(&mut block[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut start = 0;
        while let Some(header) = block[start..filled].first_chunk() {
            let end = start + 4 + u32::from_be_bytes(*header) as usize;
            if end > filled {
                break;
            }
            black_box(&block[start + 4..end]);
            start = end;
            count += 1;
            if count == messages {
                stream.write_all(&[1])?;
                stream.flush()?;
                count = 0;
            }
        }
        block.copy_within(start..filled, 0);
        filled -= start;
    }
}
