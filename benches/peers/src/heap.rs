//! Heap memory of idle connections, measured in another process with an
//! allocator that counts. It would change the times.

use std::any::Any;
use std::env;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::on::{Contestant, message_io, pea2pea, tokio, two_threads};
use crate::support::messages::Messages;
use crate::support::nodes::{Echo, Running};
use crate::support::{PATIENCE, failed};

const CONNECTIONS: usize = 4000;

/// Length of the message that each connection sends once.
const ECHO: usize = 64;

/// Returns the heap bytes of an idle inbound connection, as the program
/// `peers-heap` measures them.
pub fn bytes(contestant: Contestant) -> io::Result<f64> {
    let output = Command::new(program()?)
        .arg(contestant.name())
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let bytes = text.trim().parse().ok().filter(|_| output.status.success());
    bytes.ok_or_else(|| failed(format!("peers-heap: {}, {text}", output.status)))
}

/// Returns the path of the program. Builds it under `cargo run`, which builds
/// only the program that it runs.
fn program() -> io::Result<PathBuf> {
    if let Some(cargo) = env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--bin", "peers-heap"]);
        command.args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        if !command.status()?.success() {
            return Err(failed("peers-heap does not build"));
        }
    }
    Ok(env::current_exe()?.with_file_name("peers-heap"))
}

/// Measures in this process, whose allocator has allocated what `heap` returns.
pub fn measure(contestant: Contestant, heap: impl Fn() -> usize) -> io::Result<f64> {
    let (_alive, addr) = serve(contestant)?;
    // The length before a message is a varint in message-io.
    let header = match contestant {
        Contestant::MessageIo => &[ECHO as u8][..],
        _ => &[0, 0, 0, ECHO as u8],
    };
    let message = Messages::of(ECHO).get(0).clone();
    let frame = [header, &message].concat();
    // The first connection allocates what all of them share.
    let first = connect(addr, &frame)?;
    let before = settled(&heap);
    let connections = (0..CONNECTIONS).map(|_| connect(addr, &frame));
    let connections: Vec<TcpStream> = connections.collect::<io::Result<_>>()?;
    let vec = connections.capacity() * size_of::<TcpStream>();
    let used = settled(&heap).saturating_sub(before + vec);
    drop(first);
    Ok(used as f64 / CONNECTIONS as f64)
}

/// Starts a server that answers every message with itself, until the first
/// value is dropped.
fn serve(contestant: Contestant) -> io::Result<(Box<dyn Any>, SocketAddr)> {
    Ok(match contestant {
        Contestant::Peerloop => {
            let node = Running::new(Echo)?;
            let addr = node.addr;
            (Box::new(node), addr)
        }
        Contestant::Pea2pea => {
            let runtime = two_threads()?;
            let (pea, addr) = runtime.block_on(pea2pea::Pea::listen(pea2pea::Echo))?;
            (Box::new((runtime, pea)), addr)
        }
        Contestant::MessageIo => {
            let (node, addr) = message_io::echo()?;
            (Box::new(node), addr)
        }
        Contestant::Tokio => {
            let runtime = two_threads()?;
            let addr = runtime.block_on(tokio::serve())?;
            (Box::new(runtime), addr)
        }
        Contestant::Limit => return Err(failed("there is no limit for memory")),
    })
}

/// Connects and has one frame answered.
fn connect(addr: SocketAddr, frame: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(frame)?;
    let mut answer = [0; 4 + ECHO];
    let answer = &mut answer[..frame.len()];
    stream.read_exact(answer)?;
    if answer != frame {
        return Err(failed("an answer is wrong"));
    }
    Ok(stream)
}

/// Returns the size of the heap when it has not changed for 100 ms, because the
/// threads of the server are idle then.
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
