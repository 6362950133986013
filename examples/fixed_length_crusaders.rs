//! Jotaro and Dio fight with messages of one byte, and Dio stops time.
//!
//! ```text
//! cargo run --example fixed_length_crusaders
//! ```
//!
//! It shows messages of a fixed length: `Framing::Fixed(1)` delivers each byte as
//! a message, and nothing is sent between messages. It also shows `Net::pause`:
//! the messages of a paused connection wait in the sockets. After `Net::resume`
//! they are delivered at once, and none of them is lost.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use peerloop::framing::Framing;
use peerloop::group::Group;
use peerloop::{Config, ConnId, DisconnectReason, Handler, Net};

/// The two messages.
const ORA: [u8; 1] = [0];
const MUDA: [u8; 1] = [1];

/// Punches that Jotaro throws at once and in all, and the time between two volleys.
const VOLLEY: usize = 8;
const PUNCHES: usize = 20 * VOLLEY;
const PACE: Duration = Duration::from_millis(60);

/// How many punches Dio takes before he stops time, and for how long.
const ENOUGH: usize = 5 * VOLLEY;
const STOP: Duration = Duration::from_millis(500);

/// How long the whole fight may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Jotaro {
    thrown: usize,
    blocked: usize,
}

impl Handler for Jotaro {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        println!("Jotaro: This is close enough.");
        net.set_conn_timer(conn, PACE, 0);
    }

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, _: u64) {
        println!("Jotaro: {}", "ORA ".repeat(VOLLEY));
        for _ in 0..VOLLEY {
            if let Err(error) = net.send(conn, &ORA) {
                return log::error!("punch {} misses: {error}", self.thrown);
            }
            self.thrown += 1;
        }
        if self.thrown < PUNCHES {
            net.set_conn_timer(conn, PACE, 0);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if message != MUDA {
            return net.abort_with_reason(conn, "this is not Dio");
        }
        self.blocked += 1;
        if self.blocked == PUNCHES {
            println!("Jotaro: It is over.");
            net.close(conn);
        }
    }
}

#[derive(Default)]
struct Dio {
    blocked: usize,
    blocked_in_turn: usize,
    is_time_stopped: bool,
    end: Option<DisconnectReason>,
}

impl Handler for Dio {
    fn on_connect(&mut self, _: &mut Net, _: ConnId) {
        println!("Dio:    A visitor! So brave, and so slow.");
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if message != ORA || self.is_time_stopped {
            return net.abort_with_reason(conn, "no such punch is possible");
        }
        if let Err(error) = net.send(conn, &MUDA) {
            return log::error!("punch {} hits: {error}", self.blocked);
        }
        self.blocked += 1;
        self.blocked_in_turn += 1;
        if self.blocked == ENOUGH {
            self.is_time_stopped = true;
            net.pause(conn);
            net.set_conn_timer(conn, STOP, 0);
        }
    }

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, _: u64) {
        println!("Dio:    Time flows again.");
        self.is_time_stopped = false;
        net.resume(conn);
    }

    fn on_turn(&mut self, _: &mut Net) {
        let blocked = std::mem::take(&mut self.blocked_in_turn);
        if blocked > 0 {
            println!("Dio:    {}", "MUDA ".repeat(blocked));
        }
        if blocked > 0 && self.is_time_stopped {
            println!("Dio:    Time, stand still!");
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.end = Some(reason);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.connection.framing = Framing::Fixed(ORA.len());
    let mut group = Group::new()?;
    let jotaro = group.add(config.clone(), Jotaro::default())?;
    let dio = group.add(config, Dio::default())?;
    let addr = group.net(dio).ok_or("no Dio")?.listen("127.0.0.1:0")?.addr;
    group.net(jotaro).ok_or("no Jotaro")?.connect(addr)?;
    let is_over = |group: &mut Group| group.handler(dio).is_some_and(|dio| dio.end.is_some());
    let end = group.run_until(PATIENCE, is_over)?;

    let reason = group.handler(dio).and_then(|dio| dio.end);
    let traffic = group.net(dio).ok_or("no Dio")?.traffic();
    let (messages, bytes) = (traffic.messages_sent, traffic.bytes_sent);
    println!("{messages} messages each way, in {bytes} bytes");
    let counts = [traffic.messages_sent, traffic.messages_received];
    if reason != Some(DisconnectReason::PeerClosed) || counts != [PUNCHES as u64; 2] {
        return Err(format!("the fight has no winner: {end:?}, {reason:?}").into());
    }
    if counts != [traffic.bytes_sent, traffic.bytes_received] {
        return Err("a message has more than one byte".into());
    }
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fixed_length_crusaders: {error}");
            ExitCode::FAILURE
        }
    }
}
