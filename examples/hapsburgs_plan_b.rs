//! Detective Drebin asks one thug after the other for Hapsburg's plan B, but
//! each connection ends before the answer does.
//!
//! ```text
//! cargo run --example hapsburgs_plan_b
//! ```
//!
//! It shows how connections end. `Handler::on_disconnect` is called once for each
//! connection, and its `DisconnectReason` says exactly what happened. A peer that
//! falls silent or sends too much cannot hold the connection for long. Its slot is
//! free in the same call, so one connection per address is enough for all thugs.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use peerloop::error::TimeoutKind;
use peerloop::framing::Framing;
use peerloop::group::Group;
use peerloop::{Config, ConnId, DisconnectReason as Reason, Handler, Net};

/// How long Drebin waits for a word, and how long the program waits for Drebin.
const SILENCE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
enum End {
    Close,
    Reset,
    Silence,
}

/// The bytes of each thug, what follows them, and what Drebin notes.
const THUGS: [(&str, End, &str); 7] = [
    ("Plan B is at...\n", End::Close, "left"),
    ("It is behind the", End::Close, "left in mid-sentence"),
    ("", End::Reset, "was shot"),
    ("", End::Silence, "says nothing"),
    ("Look under the", End::Silence, "fell asleep"),
    ("First of all, I was", End::Silence, "talks too much"),
    ("You are fired!\n", End::Silence, "was thrown out"),
];

#[derive(Default)]
struct Drebin {
    notes: Vec<&'static str>,
}

impl Handler for Drebin {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        println!("Drebin: Where is plan B?");
        if net.send(conn, "Where is plan B?").is_err() {
            net.abort(conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, line: &[u8]) {
        println!("thug:   {}", String::from_utf8_lossy(line));
        if line.ends_with(b"!") {
            net.abort_with_reason(conn, "an insult");
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: Reason) {
        let note = match reason {
            Reason::PeerClosed => "left",
            Reason::Truncated { .. } => "left in mid-sentence",
            Reason::Reset => "was shot",
            Reason::Timeout(TimeoutKind::Idle) => "says nothing",
            Reason::Timeout(TimeoutKind::PartialMessage) => "fell asleep",
            Reason::MessageTooLarge { .. } => "talks too much",
            Reason::Application(_) => "was thrown out",
            _ => "is a mystery",
        };
        println!("Drebin: This one {note}. [{reason}]");
        self.notes.push(note);
    }
}

struct Thug(&'static str, End);

impl Handler for Thug {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, _: &[u8]) {
        // `Raw` sends the bytes as they are, so that a line can be incomplete.
        if !self.0.is_empty() && net.send(conn, self.0).is_err() {
            return net.abort(conn);
        }
        match self.1 {
            End::Close => net.close(conn),
            End::Reset => net.abort(conn),
            End::Silence => {}
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.limits.max_connections_per_address = 1;
    config.connection.framing = Framing::Delimited(b'\n');
    config.connection.max_message_len = 16;
    config.connection.timeouts.idle = Some(SILENCE);
    config.connection.timeouts.partial_message = Some(SILENCE);
    let mut group = Group::new()?;
    let drebin = group.add(config, Drebin::default())?;
    let net = group.net(drebin).ok_or("no Drebin")?;
    let addr = net.listen("127.0.0.1:0")?.addr;
    let mut config = Config::default();
    config.connection.framing = Framing::Raw;
    for (number, (words, end, expected)) in THUGS.into_iter().enumerate() {
        let thug = group.add(config.clone(), Thug(words, end))?;
        group.net(thug).ok_or("no thug")?.connect(addr)?;
        let note = |group: &Group| group.handler(drebin)?.notes.get(number).copied();
        let end = group.run_until(PATIENCE, |group| note(group).is_some())?;
        if note(&group) != Some(expected) {
            return Err(format!("thug {number} {:?}, {end:?}", note(&group)).into());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hapsburgs_plan_b: {error}");
            ExitCode::FAILURE
        }
    }
}
