//! Heap memory of idle connections, measured in another process, whose allocator
//! counts.

use std::env;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::job::{Job, Metric, PATIENCE, Value, failed};
use crate::messages::Messages;
use crate::on::runtime::runtime;
use crate::on::{Contestant, Threads, loopback, message_io, pea2pea, peerloop, tokio as bare};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

const ECHO: usize = 64;

/// How the memory of one contestant is measured: by the program `peers-heap`.
struct Measuring {
    program: PathBuf,
    contestant: Contestant,
    connections: usize,
}

impl Job for Measuring {
    fn run(&mut self, _: u64) -> io::Result<Vec<Value>> {
        let output = Command::new(&self.program)
            .args([self.contestant.name(), &self.connections.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let figures: Vec<f64> = text.split_whitespace().flat_map(str::parse).collect();
        match figures[..] {
            [idle, after] if output.status.success() => {
                Ok(vec![(Metric::Idle, idle), (Metric::IdleAfterUse, after)])
            }
            _ => Err(failed(format!("peers-heap: {}, {text}", output.status))),
        }
    }
}

/// The memory of so many idle connections that were accepted.
pub fn measuring(contestant: Contestant, connections: usize) -> io::Result<Box<dyn Job>> {
    let program = program()?;
    Ok(Box::new(Measuring {
        program,
        contestant,
        connections,
    }))
}

/// The path of the other program. `cargo run` builds only the one that it runs, so
/// this builds it.
fn program() -> io::Result<PathBuf> {
    let program = env::current_exe()?.with_file_name("peers-heap");
    if let Some(cargo) = env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--bin", "peers-heap"]);
        command.args(["--manifest-path", MANIFEST]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        if !command.status()?.success() {
            return Err(failed("peers-heap does not build"));
        }
    }
    Ok(program)
}

/// Anything that answers every message with itself, for as long as it lives.
struct Server {
    addr: SocketAddr,
    /// Bytes of the header before a message of 64 bytes.
    header: &'static [u8],
    _alive: Box<dyn std::any::Any>,
}

impl Server {
    fn start(contestant: Contestant) -> io::Result<Self> {
        let (addr, alive): (_, Box<dyn std::any::Any>) = match contestant {
            Contestant::Peerloop => {
                let node = peerloop::Running::new(peerloop::config(), peerloop::trips::Echo)?;
                (node.addr, Box::new(node))
            }
            Contestant::Pea2pea => {
                let runtime = runtime(Threads::Two)?;
                let (pea, port) = runtime.block_on(async {
                    let pea = pea2pea::Pea::start(Arc::new(pea2pea::Echo)).await;
                    let port = pea.listen().await?;
                    io::Result::Ok((pea, port))
                })?;
                (loopback(port), Box::new((runtime, pea)))
            }
            Contestant::MessageIo => {
                let node = message_io::echo();
                (loopback(node.listen()?), Box::new(node))
            }
            Contestant::Tokio => {
                let runtime = runtime(Threads::Two)?;
                let addr = runtime.block_on(bare::serve_echo())?;
                (addr, Box::new(runtime))
            }
            Contestant::Limit => return Err(failed("threads are no fair limit for memory")),
        };
        let header = match contestant {
            // A varint.
            Contestant::MessageIo => &[ECHO as u8][..],
            _ => &[0, 0, 0, ECHO as u8],
        };
        Ok(Self {
            addr,
            header,
            _alive: alive,
        })
    }
}

/// Heap bytes a connection: never used, and after one echo of 64 bytes.
pub fn measure(
    contestant: Contestant,
    connections: usize,
    heap: impl Fn() -> usize,
) -> io::Result<(f64, f64)> {
    let server = Server::start(contestant)?;
    let mut clients = Vec::with_capacity(connections);
    // The first pays for what all of them share.
    let mut first = connect(&server)?;
    echo(&server, &mut first)?;
    let before = settled(&heap);
    // After every `BACKLOG` connections and at the end there is one that gets an
    // answer, which shows that all before it were accepted.
    let mut heralds = Vec::with_capacity(1 + connections / peerloop::BACKLOG);
    while clients.len() < connections {
        clients.push(connect(&server)?);
        if clients.len() % peerloop::BACKLOG == 0 || clients.len() == connections {
            let mut herald = connect(&server)?;
            echo(&server, &mut herald)?;
            heralds.push(herald);
        }
    }
    let idle = settled(&heap);
    for client in &mut clients {
        echo(&server, client)?;
    }
    let after = settled(&heap);
    let all = (connections + heralds.len()) as f64;
    let each = |now: usize| now.saturating_sub(before) as f64 / all;
    Ok((each(idle), each(after)))
}

fn connect(server: &Server) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server.addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn echo(server: &Server, client: &mut TcpStream) -> io::Result<()> {
    let messages = Messages::of(ECHO);
    let mut frame = [0; 4 + ECHO];
    let len = server.header.len();
    let frame = &mut frame[..len + ECHO];
    frame[..len].copy_from_slice(server.header);
    frame[len..].copy_from_slice(messages.get(0));
    client.write_all(frame)?;
    frame.fill(0);
    client.read_exact(frame)?;
    if frame[..len] == *server.header && messages.is(0, &frame[len..]) {
        Ok(())
    } else {
        Err(failed("an answer is another one"))
    }
}

/// The heap when it has not changed for a while, because the other threads are
/// idle.
fn settled(heap: impl Fn() -> usize) -> usize {
    let begun = Instant::now();
    let (mut last, mut same) = (heap(), 0);
    while same < 20 && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
        let now = heap();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}
