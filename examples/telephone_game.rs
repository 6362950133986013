//! The telephone game: a sentence is passed along a line of twenty players, and
//! each of them may get a letter wrong.
//!
//! ```text
//! cargo run --example telephone_game
//! ```
//!
//! It shows the smallest handler that relays: all players are nodes of one
//! `Group`, on one thread. `Group::connect_all` connects them in a line, and
//! `Net::broadcast_all` sends a message to all neighbours except the one that it
//! came from. In a line that is the next player.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::Duration;

use peerloop::group::Group;
use peerloop::topology::Topology;
use peerloop::{Config, ConnId, Handler, Net, RunEnd};

const PLAYERS: usize = 20;
const SENTENCE: &str = "seven small seals sell salty sea shells at the southern shore";

/// How long the whole game may take.
const PATIENCE: Duration = Duration::from_secs(10);

struct Player {
    number: usize,
    understood: Option<String>,
    mistakes: usize,
}

impl Handler for Player {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let mut sentence = message.to_vec();
        // A player in two gets a letter wrong.
        let position = random(SENTENCE.len());
        if let (0, Some(letter)) = (random(2), sentence.get_mut(position)) {
            *letter = b"abcdefghijklmnopqrstuvwxyz"[random(26)];
        }
        self.mistakes += usize::from(sentence != message);
        let text = String::from_utf8_lossy(&sentence).into_owned();
        let mark = if sentence == message { ' ' } else { '?' };
        println!("player {:2} {mark} {text}", self.number);
        self.understood = Some(text);
        // The last player has no further neighbour, and sends it to none.
        let outcome = net.broadcast_all(sentence, Some(conn));
        log::debug!("player {}: {outcome:?}", self.number);
    }
}

/// Returns a random number below a bound. Each `RandomState` has other keys.
fn random(below: usize) -> usize {
    RandomState::new().hash_one(()) as usize % below
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut group = Group::new()?;
    let players = (0..PLAYERS).map(|number| {
        let player = Player {
            number,
            understood: None,
            mistakes: 0,
        };
        group.add(Config::default(), player)
    });
    let players = players.collect::<Result<Vec<_>, _>>()?;
    let conns = group.connect_all(Topology::Line, PATIENCE)?;
    println!("player  0   {SENTENCE}");
    group
        .net(players[0])
        .ok_or("the first player has left")?
        .send(conns[0], SENTENCE)?;

    let last = players[PLAYERS - 1];
    let end = group.run_until(PATIENCE, |group| {
        group
            .handler(last)
            .is_some_and(|it| it.understood.is_some())
    })?;
    let Some(sentence) = group.handler(last).and_then(|it| it.understood.as_ref()) else {
        return Err(format!("the sentence is lost: {end:?}").into());
    };
    let pairs = SENTENCE.chars().zip(sentence.chars());
    let wrong = pairs.filter(|(before, after)| before != after).count();
    let mistakes = players.iter().filter_map(|it| group.handler(*it));
    let mistakes: usize = mistakes.map(|player| player.mistakes).sum();
    println!("{mistakes} mistakes, {wrong} wrong letters");
    // A later player may change a wrong letter again, but nothing else can.
    if end != RunEnd::Done || wrong > mistakes || sentence.len() != SENTENCE.len() {
        return Err("the sentence was changed by someone else".into());
    }
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("telephone_game: {error}");
            ExitCode::FAILURE
        }
    }
}
