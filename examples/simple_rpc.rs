//! Requests and answers between two nodes. A thread waits for its answer, the loop
//! does not.
//!
//! ```text
//! cargo run --example simple_rpc
//! ```
//!
//! It shows `peerloop::requests`. A message has a kind, the id of a request and a
//! text. `Requests` keeps a value for each request until the answer comes, the
//! timeout has passed or the connection has ended. Here this value is the sender
//! of a channel, on which the thread that has asked waits for the outcome. The
//! answers may come in any order. Both nodes have the same handler, so both could
//! ask.

use std::error::Error;
use std::io::{self, IoSlice};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use peerloop::requests::Requests;
use peerloop::{
    Body, Config, ConnId, ConnMap, DisconnectReason, Handle, Handler, Net, Node, SendError, TimerId,
};

/// The kinds of messages.
const REQUEST: u8 = 0;
const ANSWER: u8 = 1;

/// Maximum number of requests of a peer that wait for their answer here.
const WAITING_MAX: u32 = 1_000;

/// How long a thread waits. All timeouts of this program are shorter.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer, or the reason why there is no answer.
type Outcome = Result<String, String>;

/// The end of a channel at which the outcome is expected. The receiver may be gone.
type Asker = Sender<Outcome>;

#[derive(Default)]
struct Rpc {
    requests: Requests<Asker>,
    /// How many requests of each peer wait for their answer.
    waiting: ConnMap<u32>,
}

fn send(net: &mut Net, conn: ConnId, kind: u8, id: u64, text: &str) -> Result<(), SendError> {
    let parts = [&[kind], &id.to_be_bytes()[..], text.as_bytes()];
    net.send(conn, Body::parts(&parts.map(IoSlice::new)))
}

/// A peer that does not read its answers loses its connection.
fn answer(net: &mut Net, conn: ConnId, id: u64, text: &str) {
    if send(net, conn, ANSWER, id, text).is_err() {
        net.abort(conn);
    }
}

impl Rpc {
    fn ask(&mut self, net: &mut Net, conn: ConnId, text: &str, timeout: Duration, to: Asker) {
        match self.requests.begin(net, conn, timeout, to) {
            // A request that is not sent has no answer, so its timeout reports it.
            Ok(id) => drop(send(net, conn, REQUEST, id, text)),
            Err(refused) => drop(refused.context.send(Err(refused.reason.to_string()))),
        }
    }

    /// Answers with capitals, or later to `wait MILLISECONDS`.
    fn serve(&mut self, net: &mut Net, conn: ConnId, id: u64, text: &str) {
        let wait = text.strip_prefix("wait ").map(str::parse::<u16>);
        let Some(Ok(wait)) = wait else {
            return answer(net, conn, id, &text.to_uppercase());
        };
        let waiting = self.waiting.entry(conn).or_default();
        if *waiting == WAITING_MAX {
            return answer(net, conn, id, "too many requests wait");
        }
        *waiting += 1;
        net.set_conn_timer(conn, Duration::from_millis(wait.into()), id);
    }

    fn report_failures(&mut self) {
        while let Some(failed) = self.requests.next_failed() {
            let _ = failed.context.send(Err(failed.reason.to_string()));
        }
    }
}

impl Handler for Rpc {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let Some((&[kind, ref id @ ..], text)) = message.split_first_chunk::<9>() else {
            return net.abort_with_reason(conn, "a message without an id");
        };
        let (id, text) = (u64::from_be_bytes(*id), String::from_utf8_lossy(text));
        match kind {
            REQUEST => self.serve(net, conn, id, &text),
            // An answer that is late or was not asked for is ignored.
            ANSWER => {
                if let Some(to) = self.requests.answer(net, conn, id) {
                    let _ = to.send(Ok(text.into_owned()));
                }
            }
            _ => net.abort_with_reason(conn, "an unknown kind of message"),
        }
    }

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, id: u64) {
        if let Some(waiting) = self.waiting.get_mut(conn) {
            *waiting -= 1;
        }
        answer(net, conn, id, &format!("request {id} has waited"));
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
        self.requests.on_timer(net, timer);
        self.report_failures();
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.waiting.remove(conn);
        self.requests.on_disconnect(net, conn);
        self.report_failures();
    }
}

/// Asks all questions at once. The outcomes come in the order of the answers.
fn ask(
    client: &Handle<Rpc>,
    server: ConnId,
    questions: &'static [&str],
    timeout: Duration,
) -> io::Result<Receiver<Outcome>> {
    let (to, outcomes) = mpsc::channel();
    client.post(move |rpc, net| {
        for question in questions {
            rpc.ask(net, server, question, timeout, to.clone());
        }
    })?;
    Ok(outcomes)
}

/// Waits for the outcomes, prints and compares them.
fn expect(outcomes: &Receiver<Outcome>, expected: &[Result<&str, &str>]) -> Result<(), String> {
    for expected in expected {
        let outcome = outcomes.recv_timeout(PATIENCE);
        let outcome = outcome.map_err(|_| "a request has no outcome")?;
        match &outcome {
            Ok(answer) => println!("  answer: {answer}"),
            Err(reason) => println!("  no answer: {reason}"),
        }
        if outcome.as_deref().map_err(String::as_str) != *expected {
            return Err(format!("{outcome:?} instead of {expected:?}"));
        }
    }
    Ok(())
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut server = Node::new(Config::default(), Rpc::default())?;
    let addr = server.net().listen("127.0.0.1:0")?.addr;
    let server = server.spawn()?;
    let node = Node::new(Config::default(), Rpc::default())?.spawn()?;
    let client = node.handle();
    let conn = client.connect_wait(addr, PATIENCE)?;
    let [short, long] = [Duration::from_millis(100), Duration::from_secs(10)];

    println!("a request");
    let outcomes = ask(&client, conn, &["hello world"], long)?;
    expect(&outcomes, &[Ok("HELLO WORLD")])?;

    println!("two slow requests and a quick one at the same time");
    let outcomes = ask(&client, conn, &["wait 200", "wait 100", "now"], long)?;
    let [quick, slow, slowest] = ["NOW", "request 3 has waited", "request 2 has waited"];
    expect(&outcomes, &[Ok(quick), Ok(slow), Ok(slowest)])?;

    println!("a request with a timeout of {short:?}");
    let outcomes = ask(&client, conn, &["wait 15000"], short)?;
    expect(&outcomes, &[Err("no answer in time")])?;

    println!("a request to a server that shuts down after another one");
    let outcomes = ask(&client, conn, &["wait 15000", "last"], long)?;
    expect(&outcomes, &[Ok("LAST")])?;
    server.shutdown(Duration::ZERO);
    expect(&outcomes, &[Err("the connection ended before the answer")])?;
    server.join()?;
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simple_rpc: {error}");
            ExitCode::FAILURE
        }
    }
}
