//! Peers without a node that are slow, or much too quick: several of one address.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::sim::{Random, Wire, World};

use super::talk::{Kind, PORTS, Rules};
use crate::util::secured::Secured;

/// How often they do something.
const STEP: Duration = Duration::from_millis(15);

/// Bytes that a slow reader reads at once.
const SIP: usize = 2048;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Habit {
    /// Reads a little at intervals, and rarely sends.
    SlowReader,
    /// Sends a byte at a time.
    Drips,
    /// Sends many small messages at once.
    Floods,
    /// Sends nothing.
    Silent,
    /// Sends a part of a long message at once, and no more.
    Announces,
}

struct Stranger {
    wire: Wire,
    kind: Kind,
    habit: Habit,
    /// Bytes to be sent.
    outbox: VecDeque<u8>,
    /// The place of the next message, and the number of the next frame.
    place: u64,
    frames: u64,
}

/// The strangers of a world.
pub struct Strangers {
    all: Vec<Stranger>,
    targets: Vec<SocketAddr>,
    rules: Rules,
    most: usize,
}

impl Strangers {
    /// The raw peers of a world. Many worlds have none.
    pub fn drawn(random: &mut Random, rules: Rules, targets: &[SocketAddr]) -> Self {
        // A scripted peer has an IPv4 address.
        let are_there = !rules.is_v6 && random.chance(0.5);
        Self {
            all: Vec::new(),
            targets: targets.to_vec(),
            rules,
            most: if are_there {
                random.between(1, 8) as usize
            } else {
                0
            },
        }
    }

    /// Lets time pass, in which they do what they do.
    pub fn pass(&mut self, world: &mut World, random: &mut Random, time: Duration) {
        if self.most == 0 {
            return world.run_for(time);
        }
        let until = world.now() + time;
        while world.now() < until {
            self.step(world, random);
            world.run_for(STEP.min(until.saturating_sub(world.now())));
        }
    }

    /// They end, in one way or the other.
    pub fn leave(&mut self, world: &mut World, random: &mut Random) {
        for stranger in self.all.drain(..) {
            if random.chance(0.5) {
                world.close_wire(stranger.wire);
            } else {
                world.reset_wire(stranger.wire);
            }
        }
    }

    fn step(&mut self, world: &mut World, random: &mut Random) {
        if self.all.len() < self.most && random.chance(0.1) {
            self.join(world, random);
        }
        self.all.retain_mut(|stranger| {
            let goes_on = stranger.act(world, random);
            if !goes_on {
                world.close_wire(stranger.wire);
            }
            goes_on
        });
    }

    fn join(&mut self, world: &mut World, random: &mut Random) {
        let mut target = self.targets[random.below(self.targets.len() as u64) as usize];
        let port = usize::from(random.chance(0.3));
        target.set_port(PORTS[port]);
        let wire = match self.all.first() {
            Some(first) if random.chance(0.7) => world.wire_beside(first.wire, target),
            _ => world.wire(target),
        };
        let habit = match random.below(8) {
            0..=2 => Habit::SlowReader,
            3 | 4 => Habit::Drips,
            5 => Habit::Floods,
            6 => Habit::Silent,
            _ => Habit::Announces,
        };
        let mut stranger = Stranger {
            wire: wire.expect("an IPv4 address"),
            kind: self.rules.kinds[port],
            habit,
            outbox: VecDeque::new(),
            place: 0,
            frames: 0,
        };
        if self.rules.secured != Secured::No {
            // Nothing of a handshake: a byte, or a few.
            stranger.outbox = (0..random.below(30))
                .map(|_| random.next_u64() as u8)
                .collect();
        }
        self.all.push(stranger);
    }
}

impl Stranger {
    /// Returns whether it goes on.
    fn act(&mut self, world: &mut World, random: &mut Random) -> bool {
        if random.chance(0.01) {
            return false;
        }
        let plain = self.frames > 0 || self.outbox.is_empty();
        match self.habit {
            Habit::SlowReader if plain && random.chance(0.05) => self.compose(random, 500),
            Habit::Drips if plain && self.outbox.is_empty() => self.compose(random, 3000),
            Habit::Floods if plain && self.outbox.len() < 500 => {
                (0..60).for_each(|_| self.compose(random, 4));
            }
            Habit::Announces if plain && self.frames == 0 => {
                self.compose(random, 30_000);
                let part = random.below(self.outbox.len() as u64 + 1);
                self.outbox.truncate(part as usize);
            }
            _ => {}
        }
        self.write(world, random) && self.read(world, random)
    }

    /// Appends the next message, of about this length.
    fn compose(&mut self, random: &mut Random, most: u64) {
        let message = self.kind.message(self.place, random.below(most));
        self.place += self.kind.places(message.len());
        self.outbox.extend(self.kind.frame(self.frames, &message));
        self.frames += 1;
    }

    fn write(&mut self, world: &mut World, random: &mut Random) -> bool {
        let most = match self.habit {
            Habit::Drips => usize::from(random.chance(0.7)),
            _ => self.outbox.len(),
        };
        let bytes: Vec<u8> = self.outbox.iter().take(most).copied().collect();
        if bytes.is_empty() {
            return true;
        }
        match world.write_wire(self.wire, &bytes) {
            Ok(count) => drop(self.outbox.drain(..count)),
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
        true
    }

    fn read(&mut self, world: &mut World, random: &mut Random) -> bool {
        let most = match self.habit {
            Habit::SlowReader if random.chance(0.1) => SIP,
            Habit::SlowReader => return true,
            _ => usize::MAX,
        };
        let ended = world.read_wire_up_to(self.wire, most, &mut Vec::new());
        ended.is_ok_and(|ended| !ended)
    }
}
