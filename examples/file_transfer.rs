//! One process serves a file, others fetch it: in bounded memory on both sides,
//! and verified.
//!
//! ```text
//! cargo run --release --example file_transfer serve 127.0.0.1:4000 FILE
//! cargo run --release --example file_transfer fetch 127.0.0.1:4000 DESTINATION
//! ```
//!
//! It shows backpressure (the server reads on in the file only when the client's
//! queue has room), bodies that are sent without a copy, a protocol of typed
//! messages, and the checks of untrusted messages.
//!
//! # Protocol
//!
//! Messages have peerloop's default framing: a length in four bytes, then the
//! message. Its first byte is its type, the fields follow. Numbers are
//! big-endian.
//!
//! | type | name    | from   | fields                                                    |
//! |------|---------|--------|-----------------------------------------------------------|
//! | 1    | FETCH   | client | version of the protocol: 1 byte, which is 1               |
//! | 2    | OFFER   | server | size of the file: 8 bytes, at most 2^40                   |
//! | 3    | CHUNK   | server | the next 1 to 131,072 bytes of the file                   |
//! | 4    | DONE    | server | SHA-256 of the file: 32 bytes                             |
//! | 5    | REFUSAL | server | why there is no (more) file: UTF-8 of at most 200 bytes   |
//!
//! The client sends FETCH. The server answers with OFFER, then chunks that have
//! exactly the announced size together, then DONE; or with REFUSAL at any point.
//! The client closes the connection, because it alone knows when everything has
//! arrived.

mod support;

use peerloop::config::SendQueueConfig;
use peerloop::{
    Bytes, Config, ConnId, ConnInfo, ConnMap, ConnectError, DisconnectReason, Handler, Net, Node,
};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use lexopt::prelude::ValueExt;
use sha2::{Digest, Sha256};

use support::{Arguments, Outcome};

const USAGE: &str = "usage: file_transfer serve ADDRESS:PORT FILE
       file_transfer fetch ADDRESS:PORT DESTINATION";

const FETCH: u8 = 1;
const OFFER: u8 = 2;
const CHUNK: u8 = 3;
const DONE: u8 = 4;
const REFUSAL: u8 = 5;

const VERSION: u8 = 1;
const SIZE_MAX: u64 = 1 << 40;
const CHUNK_MAX: usize = 128 * 1024;
const REFUSAL_MAX: usize = 200;

/// Maximum number of bytes of the file that the server holds in memory for one
/// client.
const MEMORY_PER_CLIENT: usize = 512 * 1024;

fn config() -> Config {
    let mut config = Config::default();
    config.limits.max_connections = 100;
    config.connection.max_message_len = 1 + CHUNK_MAX;
    config.connection.send_queue = SendQueueConfig {
        // A queue just below the mark still gets one more chunk.
        high_bytes: MEMORY_PER_CLIENT - CHUNK_MAX,
        low_bytes: CHUNK_MAX,
        ..Default::default()
    };
    config
}

fn message(kind: u8, fields: &[u8]) -> Bytes {
    [&[kind], fields].concat().into()
}

struct Server {
    path: PathBuf,
    uploads: ConnMap<Upload>,
}

/// The rest of the file, for one client.
struct Upload {
    file: File,
    left: u64,
    /// The hash of what was read so far. Taken when it is sent, in the last
    /// message.
    hash: Option<Sha256>,
}

impl Upload {
    fn begin(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let left = file.metadata()?.len();
        if left > SIZE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let hash = Some(Sha256::new());
        Ok(Self { file, left, hash })
    }

    /// The next chunk, then the hash, then nothing.
    ///
    /// While a file is read the loop does nothing else. A chunk takes a fraction
    /// of a millisecond where the system reads ahead. With slow disks, a thread
    /// should read, and send the chunks through a `Handle`.
    fn next_message(&mut self) -> io::Result<Option<Bytes>> {
        let Some(hash) = self.hash.as_mut().filter(|_| self.left > 0) else {
            let hash = self.hash.take();
            return Ok(hash.map(|hash| message(DONE, &hash.finalize())));
        };
        let len = self.left.min(CHUNK_MAX as u64) as usize;
        let mut message = vec![CHUNK; 1 + len];
        self.file.read_exact(&mut message[1..])?;
        self.left -= len as u64;
        hash.update(&message[1..]);
        Ok(Some(message.into()))
    }
}

impl Server {
    fn send(&self, net: &mut Net, conn: ConnId, message: Bytes) {
        if let Err(error) = net.send(conn, message) {
            log::warn!("{conn}: sending: {error}");
            net.abort(conn);
        }
    }

    fn refuse(&mut self, net: &mut Net, conn: ConnId, error: &io::Error) {
        log::error!("reading {} for {conn}: {error}", self.path.display());
        self.uploads.remove(conn);
        // The peer does not learn the path, nor the details of the error.
        let why = format!("the file cannot be read: {}", error.kind());
        self.send(net, conn, message(REFUSAL, why.as_bytes()));
    }
}

impl Handler for Server {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if message != [FETCH, VERSION] || self.uploads.contains(conn) {
            log::warn!("{conn}: not a request of this protocol");
            return net.abort(conn);
        }
        match Upload::begin(&self.path) {
            Ok(upload) => {
                self.send(net, conn, self::message(OFFER, &upload.left.to_be_bytes()));
                self.uploads.insert(conn, upload);
                self.on_drain(net, conn);
            }
            Err(error) => self.refuse(net, conn, &error),
        }
    }

    // The client's queue has become short: fill it up again, and no further than
    // to its high watermark. The limits of `config` leave the loop room for all
    // clients, so that no send is refused.
    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        while net.is_writable(conn) {
            let Some(upload) = self.uploads.get_mut(conn) else {
                return;
            };
            match upload.next_message() {
                Ok(Some(message)) => self.send(net, conn, message),
                Ok(None) => return,
                Err(error) => return self.refuse(net, conn, &error),
            }
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, reason: DisconnectReason) {
        if let Some(upload) = self.uploads.remove(conn) {
            log::info!("{conn}: {reason}, {} bytes not read", upload.left);
        }
    }
}

fn serve(addr: SocketAddr, path: PathBuf) -> Outcome {
    let metadata = fs::metadata(&path);
    let metadata = metadata.map_err(|error| format!("reading {}: {error}", path.display()))?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file", path.display()).into());
    }
    let (name, size) = (path.display().to_string(), metadata.len());
    let uploads = ConnMap::new();
    let mut node = Node::new(config(), Server { path, uploads })?;
    let listening = node.net().listen(addr);
    let addr = listening.map_err(|error| format!("listening on {addr}: {error}"))?;
    writeln!(io::stdout(), "serving {name}, {size} bytes, on {addr}")?;
    Ok(node.run()?)
}

struct Client {
    destination: PathBuf,
    download: Option<Download>,
    /// The verified download, or why it failed. `None` while it goes on.
    outcome: Option<Result<Download, String>>,
}

/// The part of the file that has arrived.
struct Download {
    part: PartFile,
    size: u64,
    received: u64,
    hash: Sha256,
    bar: ProgressBar,
}

impl Download {
    fn begin(destination: &Path, offer: &[u8]) -> Result<Self, String> {
        let size = offer.try_into().map(u64::from_be_bytes);
        let size = size.map_err(|_| "the server's offer is malformed")?;
        if size > SIZE_MAX {
            return Err(format!("the server offers {size} bytes, which is too much"));
        }
        let beside = destination.display();
        let part = PartFile::create(destination);
        let part = part.map_err(|error| format!("creating a file beside {beside}: {error}"))?;
        Ok(Self {
            part,
            size,
            received: 0,
            hash: Sha256::new(),
            bar: support::progress(size),
        })
    }

    fn append(&mut self, chunk: &[u8]) -> Result<(), String> {
        let len = chunk.len() as u64;
        let Self { size, received, .. } = *self;
        if len == 0 || len > size - received {
            return Err(format!(
                "the server sent {len} bytes after {received} of {size}"
            ));
        }
        let written = self.part.file.write_all(chunk);
        written.map_err(|error| format!("writing {}: {error}", self.part.path.display()))?;
        self.hash.update(chunk);
        self.received += len;
        self.bar.inc(len);
        Ok(())
    }

    fn verify(&mut self, announced: &[u8]) -> Result<(), String> {
        let Self { size, received, .. } = self;
        if received < size {
            return Err(format!("the server ended after {received} of {size} bytes"));
        }
        if self.hash.finalize_reset().as_slice() != announced {
            return Err("what arrived does not have the SHA-256 that the server says".to_owned());
        }
        Ok(())
    }
}

/// A file under a temporary name beside its destination, until it is kept or
/// dropped. It stays if the process is killed.
struct PartFile {
    path: PathBuf,
    file: File,
}

impl PartFile {
    fn create(destination: &Path) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(destination.file_name().unwrap_or_default());
        name.push(format!(".{}.part", process::id()));
        let path = destination.with_file_name(name);
        let file = File::create_new(&path)?;
        Ok(Self { path, file })
    }

    /// Gives the file its name, once all of it is on the disk.
    fn keep(self, destination: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, destination)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // A file that was kept does not have this name.
        let _ = fs::remove_file(&self.path);
    }
}

impl Client {
    /// Takes one message. A message that is not allowed at this point is an error.
    fn take(&mut self, message: &[u8]) -> Result<(), String> {
        let (kind, fields) = message.split_first().ok_or("the server sent nothing")?;
        match (*kind, &mut self.download) {
            (OFFER, None) => self.download = Some(Download::begin(&self.destination, fields)?),
            (CHUNK, Some(download)) => download.append(fields)?,
            (DONE, Some(download)) => {
                download.verify(fields)?;
                self.outcome = self.download.take().map(Ok);
            }
            (REFUSAL, _) => return Err(format!("the server says: {}", printable(fields))),
            (kind, _) => return Err(format!("the server sent type {kind} out of turn")),
        }
        Ok(())
    }

    fn fail(&mut self, what: String) {
        self.outcome = Some(Err(what));
    }
}

impl Handler for Client {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        if let Err(error) = net.send(conn, &[FETCH, VERSION]) {
            self.fail(format!("asking the server: {error}"));
            net.abort(conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if let Err(what) = self.take(message) {
            self.fail(what);
            net.abort(conn);
        } else if self.outcome.is_some() {
            net.close(conn);
        }
    }

    fn on_connect_failed(&mut self, net: &mut Net, _: ConnId, to: &ConnInfo, error: ConnectError) {
        self.fail(format!("connecting to {}: {error}", to.addr));
        net.shutdown(Duration::ZERO);
    }

    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        if self.outcome.is_none() {
            let download = self.download.as_ref();
            let (received, size) = download.map_or((0, 0), |it| (it.received, it.size));
            self.fail(format!(
                "the server went away after {received} of {size} bytes: {reason}"
            ));
        }
        net.shutdown(Duration::ZERO);
    }
}

/// Untrusted text, for a terminal.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(REFUSAL_MAX)]);
    text.chars()
        .filter(|character| !character.is_control())
        .collect()
}

fn fetch(addr: SocketAddr, destination: PathBuf) -> Outcome {
    if destination.file_name().is_none() || destination.is_dir() {
        return Err(format!("{} is no name for a file", destination.display()).into());
    }
    let client = Client {
        destination: destination.clone(),
        download: None,
        outcome: None,
    };
    let mut node = Node::new(config(), client)?;
    node.net().connect(addr)?;
    let began = Instant::now();
    node.run()?;

    let outcome = node.handler_mut().outcome.take();
    let Download { part, size, .. } = outcome.ok_or("the loop ended early")??;
    let kept = part.keep(&destination);
    let (name, seconds) = (destination.display(), began.elapsed().as_secs_f64());
    kept.map_err(|error| format!("saving {name}: {error}"))?;
    let line = format!("{name}: {size} bytes in {seconds:.2} s, verified");
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn run(arguments: Arguments) -> Outcome {
    let [role, addr, path] = arguments.words.as_slice() else {
        return Err(USAGE.into());
    };
    let (addr, path) = (addr.parse()?, PathBuf::from(path));
    match role.to_str() {
        Some("serve") => serve(addr, path),
        Some("fetch") => fetch(addr, path),
        _ => Err(USAGE.into()),
    }
}

fn main() -> ExitCode {
    support::run(("file_transfer", USAGE), &[], run)
}
