//! The telephone game: a sentence is passed along a line of twenty players, and
//! each of them may get a letter wrong.
//!
//! ```text
//! cargo run --example telephone_game
//! ```
//!
//! It shows many nodes in one program: all players are members of one `Group`, on
//! one thread. `Group::connect_all` connects them in a line. A player passes the
//! sentence on with `Net::broadcast_all`, which sends to all neighbours except the
//! one that a message came from. In a line that is the next player.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::Duration;

use peerloop::group::Group;
use peerloop::topology::Topology;
use peerloop::{Config, ConnId, Handler, Net};

const PLAYERS: usize = 20;
const SENTENCE: &str = "seven small seals sell salty sea shells at the southern shore";

/// How long the whole game may take.
const PATIENCE: Duration = Duration::from_secs(10);

struct Player {
    number: usize,
    understood: Option<String>,
    /// How many sentences have arrived: one, unless something is wrong.
    arrived: usize,
    mistakes: usize,
}

impl Handler for Player {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let mut sentence = message.to_vec();
        // In half of the cases, a letter is misunderstood.
        if let Some(letter) = sentence.get_mut(random(2 * SENTENCE.len())) {
            *letter = b"abcdefghijklmnopqrstuvwxyz"[random(26)];
        }
        let is_wrong = sentence != message;
        let text = String::from_utf8_lossy(&sentence).into_owned();
        let mark = if is_wrong { '?' } else { ' ' };
        println!("player {:2} {mark} {text}", self.number);
        self.understood = Some(text);
        self.arrived += 1;
        self.mistakes += usize::from(is_wrong);
        // The last player has no further neighbour, and sends nothing.
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
    let mut players = Vec::new();
    for number in 0..PLAYERS {
        let player = Player {
            number,
            understood: None,
            arrived: 0,
            mistakes: 0,
        };
        players.push(group.add(Config::default(), player)?);
    }
    let conns = group.connect_all(Topology::Line, PATIENCE)?;

    println!("player  0   {SENTENCE}");
    let net = group.net(players[0]).ok_or("no first player")?;
    net.send(conns[0], SENTENCE)?;
    let last = players[PLAYERS - 1];
    let understood = |group: &Group| group.handler(last)?.understood.clone();
    let end = group.run_until(PATIENCE, |group| understood(group).is_some())?;
    let sentence = understood(&group).ok_or_else(|| format!("the sentence is lost: {end:?}"))?;

    let pairs = SENTENCE.chars().zip(sentence.chars());
    let wrong = pairs.filter(|(before, after)| before != after).count();
    let arrived: usize = group.handlers(&players).map(|it| it.arrived).sum();
    let mistakes = group.handlers(&players).map(|it| it.mistakes).sum();
    println!("{mistakes} mistakes, {wrong} wrong letters");
    if arrived != PLAYERS - 1 {
        return Err(format!("{arrived} sentences arrived").into());
    }
    // Two mistakes may be in the same letter.
    if wrong > mistakes || sentence.len() != SENTENCE.len() {
        return Err("the sentence was changed on the way".into());
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
