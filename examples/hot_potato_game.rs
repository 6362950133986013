//! Ten players throw a hot potato to each other while the music plays. When it
//! stops, the player with the potato leaves. The last one wins.
//!
//! ```text
//! cargo run --release --example hot_potato_game
//! ```
//!
//! It shows state for each connection, and state that all nodes agree on. A
//! `ConnMap` has the number of the player at the other end of each connection.
//! Every catch is broadcast, so that all players know which one has the potato. A
//! player that leaves throws it first, and then shuts down: a shutdown sends the
//! messages that are queued, so that the potato is never lost.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::Duration;

use peerloop::framing::Framing;
use peerloop::group::{Group, MemberId};
use peerloop::topology::Topology;
use peerloop::{Config, ConnId, ConnMap, DisconnectReason, Handler, Net, RunEnd};

const PLAYERS: u64 = 10;

/// How long the music plays in each round.
const ROUND: Duration = Duration::from_millis(150);

/// How long it may take until all players agree.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message is one of these bytes and a number.
const MESSAGE_LEN: usize = 9;
const MY_NUMBER: u8 = 0;
const CATCH: u8 = 1;
const I_HAVE_IT: u8 = 2;

struct Player {
    number: u64,
    /// The numbers of the other players.
    others: ConnMap<u64>,
    is_music_on: bool,
    /// The number of the latest throw, and of its target. News of an earlier
    /// throw may arrive later, because it comes from another player.
    potato: (u64, u64),
    caught: u64,
}

impl Player {
    /// Throws the potato to a random player.
    fn throw(&mut self, net: &mut Net) {
        let index = RandomState::new().hash_one(()) as usize % self.others.len().max(1);
        let Some((target, number)) = self.others.iter().nth(index) else {
            return;
        };
        self.potato = (self.potato.0.saturating_add(1), *number);
        if let Err(error) = net.send(target, &message(CATCH, self.potato.0)) {
            log::error!("player {} drops the potato: {error}", self.number);
        }
    }

    fn set_music(&mut self, net: &mut Net, is_on: bool) {
        self.is_music_on = is_on;
        if is_on && self.potato.1 == self.number {
            self.throw(net);
        }
    }
}

fn message(kind: u8, number: u64) -> [u8; MESSAGE_LEN] {
    let mut message = [kind; MESSAGE_LEN];
    message[1..].copy_from_slice(&number.to_be_bytes());
    message
}

impl Handler for Player {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        if net.send(conn, &message(MY_NUMBER, self.number)).is_err() {
            net.abort(conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) {
        let Ok([kind, number @ ..]) = <[u8; MESSAGE_LEN]>::try_from(bytes) else {
            return; // The framing delivers no other length.
        };
        let number = u64::from_be_bytes(number);
        match (kind, self.others.get(conn)) {
            (MY_NUMBER, None) => drop(self.others.insert(conn, number)),
            (CATCH, Some(_)) => {
                self.caught += 1;
                self.potato = (number, self.number);
                let outcome = net.broadcast_all(&message(I_HAVE_IT, number), None);
                log::debug!("player {} tells {} others", self.number, outcome.queued);
                if self.is_music_on {
                    self.throw(net);
                }
            }
            (I_HAVE_IT, Some(player)) => self.potato = self.potato.max((number, *player)),
            _ => net.abort_with_reason(conn, "an unexpected message"),
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.others.remove(conn);
    }
}

/// Waits until these players, and no others, are connected and agree on which of
/// them has the potato. Returns the number of throws and that player.
fn agree(group: &mut Group, players: &[MemberId<Player>]) -> Result<(u64, u64), Box<dyn Error>> {
    let mut potato = (0, 0);
    let end = group.run_until(PATIENCE, |group| {
        let all: Vec<&Player> = group.handlers(players).collect();
        potato = all[0].potato;
        let agrees = |it: &&Player| it.others.len() + 1 == all.len() && it.potato == potato;
        all.iter().all(agrees) && all.iter().any(|it| it.number == potato.1)
    })?;
    if end != RunEnd::Done {
        return Err("the players do not agree on who has the potato".into());
    }
    Ok(potato)
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.connection.framing = Framing::Fixed(MESSAGE_LEN);
    let mut group = Group::new()?;
    let mut players = Vec::new();
    for number in 0..PLAYERS {
        let player = Player {
            number,
            others: ConnMap::new(),
            is_music_on: false,
            potato: (0, 0), // Player 0 begins.
            caught: 0,
        };
        players.push(group.add(config.clone(), player)?);
    }
    let connections = group.connect_all(Topology::Mesh, PATIENCE)?.len();
    println!("{PLAYERS} players, {connections} connections");

    let mut left = players.clone();
    while left.len() > 1 {
        agree(&mut group, &left)?;
        for player in &left {
            group.with(*player, |player, net| player.set_music(net, true));
        }
        let _ = group.run_for(ROUND)?;
        for player in &left {
            group.with(*player, |player, net| player.set_music(net, false));
        }
        let (throws, loser) = agree(&mut group, &left)?;
        println!("after {throws:6} throws player {loser} has the potato and leaves");
        let loser = *players.get(loser as usize).ok_or("no such player")?;
        group.with(loser, |player, net| {
            player.throw(net);
            net.shutdown(PATIENCE);
        });
        left.retain(|player| *player != loser);
    }
    let (throws, winner) = agree(&mut group, &left)?;
    println!("player {winner} wins");
    let mut catches = 0;
    for Player { number, caught, .. } in group.handlers(&players) {
        println!("player {number} caught it {caught:6} times");
        catches += caught;
    }
    if catches != throws {
        return Err(format!("{throws} throws, but {catches} catches").into());
    }
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hot_potato_game: {error}");
            ExitCode::FAILURE
        }
    }
}
