//! The limit for spinning: two threads that poll a socket each, without rest, and do nothing else.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::job::{Job, Value, failed, in_time};
use crate::messages;

/// One end: a socket and its poll.
struct Spinner {
    stream: TcpStream,
    poll: Poll,
    events: Events,
    block: Vec<u8>,
    filled: usize,
}

impl Spinner {
    fn new(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let poll = Poll::new()?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(0), interest)?;
        Ok(Self {
            stream,
            poll,
            events: Events::with_capacity(16),
            block: vec![0; 64 * 1024],
            filled: 0,
        })
    }

    /// Polls without waiting; whether there may be something to read.
    fn is_ready(&mut self) -> io::Result<bool> {
        self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        Ok(self.events.iter().any(mio::event::Event::is_readable))
    }

    /// Reads what is there; `false` at the end of the stream.
    fn read(&mut self) -> io::Result<bool> {
        match self.stream.read(&mut self.block[self.filled..]) {
            Ok(read) => {
                self.filled += read;
                Ok(read > 0)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }
}

struct Trips {
    spinner: Spinner,
    trips: messages::Trips,
    frame: Vec<u8>,
    stop: Arc<AtomicBool>,
    echo: Option<JoinHandle<io::Result<()>>>,
}

impl Job for Trips {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let begun = Instant::now();
        self.trips.begin(amount);
        while !self.trips.over() {
            self.ask()?;
            while !self.spinner.is_ready()? {
                in_time(begun, "the answers")?;
            }
            if !self.spinner.read()? {
                return Err(failed("the echo is gone"));
            }
            let mut start = 0;
            let filled = self.spinner.filled;
            while filled - start >= self.frame.len() {
                let end = start + self.frame.len();
                self.trips.take(&self.spinner.block[start + 4..end]);
                start = end;
            }
            self.spinner.block.copy_within(start..filled, 0);
            self.spinner.filled -= start;
        }
        self.trips.values()
    }
}

impl Trips {
    fn ask(&mut self) -> io::Result<()> {
        while let Some(question) = self.trips.ask() {
            self.frame[4..].copy_from_slice(question);
            // A frame or two always fit the socket.
            self.spinner.stream.write_all(&self.frame)?;
        }
        Ok(())
    }
}

impl Drop for Trips {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(echo) = self.echo.take() {
            let _ = echo.join();
        }
    }
}

/// Sends back whatever comes.
fn echo(mut spinner: Spinner, stop: &AtomicBool) -> io::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        if spinner.is_ready()? {
            if !spinner.read()? {
                return Ok(());
            }
            let filled = std::mem::take(&mut spinner.filled);
            spinner.stream.write_all(&spinner.block[..filled])?;
        }
    }
    Ok(())
}

/// Round trips between two threads that never sleep, one or a few at once.
pub fn trips(size: usize, outstanding: u64) -> io::Result<Box<dyn Job>> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let outbound = std::net::TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (answering, stopped) = (Spinner::new(accepted)?, Arc::clone(&stop));
    let mut frame = vec![0; 4 + size];
    frame[..4].copy_from_slice(&(size as u32).to_be_bytes());
    Ok(Box::new(Trips {
        spinner: Spinner::new(outbound)?,
        trips: messages::Trips::new(size, outstanding),
        frame,
        stop,
        echo: Some(thread::spawn(move || echo(answering, &stopped))),
    }))
}
