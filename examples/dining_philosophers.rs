//! Five philosophers sit around a table, with a fork between each two neighbours.
//! A philosopher needs both forks to eat, and can only talk to the neighbours.
//!
//! ```text
//! cargo run --example dining_philosophers
//! ```
//!
//! It shows a protocol with a state machine for each connection (`ConnMap`), and
//! timers. The algorithm is that of Chandy and Misra (*The drinking philosophers
//! problem*, ACM TOPLAS 1984). A fork that was used is dirty. Its owner cleans it
//! and hands it over when the neighbour asks, unless the owner is eating. A clean
//! fork is kept until its owner has eaten. Therefore no two neighbours eat at the
//! same time, nobody starves, and no philosopher knows more than its neighbours.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peerloop::group::Group;
use peerloop::topology::Topology;
use peerloop::{Config, ConnId, ConnMap, Direction, DisconnectReason, Handler, Net, TimerId};

const NAMES: [&str; 5] = ["Hypatia", "Plato", "Laozi", "Avicenna", "Arendt"];
const LAST: usize = NAMES.len() - 1;

/// How often each philosopher eats before the evening ends, and how long the
/// evening may take.
const MEALS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(20);

/// The messages.
const PLEASE: &[u8] = b"the fork, please";
const HERE: &[u8] = b"here is the fork";

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Thinking,
    Hungry,
    Eating,
}

impl Display for Mood {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Thinking => ".",
            Self::Hungry => "hungry",
            Self::Eating => "EATS",
        })
    }
}

/// The fork between this philosopher and a neighbour.
struct Fork {
    is_here: bool,
    is_dirty: bool,
    /// This philosopher has the right to ask. It passes to the neighbour with
    /// the question: together with the fork, it means that the neighbour asked.
    may_ask: bool,
}

struct Philosopher {
    seat: usize,
    mood: Mood,
    forks: ConnMap<Fork>,
    meals: usize,
}

impl Philosopher {
    /// Sends what is due to the neighbours, and eats when both forks are here.
    fn act(&mut self, net: &mut Net) {
        let (is_hungry, is_eating) = (self.mood == Mood::Hungry, self.mood == Mood::Eating);
        for (conn, fork) in self.forks.iter_mut() {
            if fork.is_here && fork.is_dirty && fork.may_ask && !is_eating {
                fork.is_here = net.send(conn, HERE).is_err();
            }
            if !fork.is_here && fork.may_ask && is_hungry {
                fork.may_ask = net.send(conn, PLEASE).is_err();
            }
        }
        if is_hungry && self.forks.values().all(|fork| fork.is_here) {
            self.mood = Mood::Eating;
            self.forks.values_mut().for_each(|it| it.is_dirty = true);
            self.wait(net);
        }
    }

    /// Thinks or eats for a random time.
    fn wait(&self, net: &mut Net) {
        let random = RandomState::new().hash_one(()) % 100;
        net.set_timer(Duration::from_millis(20 + random), 0);
    }
}

impl Handler for Philosopher {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let direction = net.connection(conn).map(|it| it.info().direction);
        // The first philosopher begins with two forks, and the last one with none. If
        // each one began with one fork, all could wait in a circle.
        let is_here = self.seat == 0 || self.seat != LAST && direction == Some(Direction::Outbound);
        let fork = Fork {
            is_here,
            is_dirty: true,
            may_ask: !is_here,
        };
        self.forks.insert(conn, fork);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        match (self.forks.get_mut(conn), message) {
            (Some(fork), PLEASE) if !fork.may_ask => fork.may_ask = true,
            (Some(fork), HERE) if !fork.is_here => {
                (fork.is_here, fork.is_dirty) = (true, false);
            }
            _ => return net.abort_with_reason(conn, "bad manners"),
        }
        self.act(net);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        // Without the neighbour, this fork is not needed.
        self.forks.remove(conn);
        self.act(net);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        if self.mood == Mood::Eating {
            self.meals += 1;
            self.mood = Mood::Thinking;
            self.wait(net);
        } else {
            self.mood = Mood::Hungry;
        }
        self.act(net);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut group = Group::new()?;
    let mut table = Vec::new();
    for seat in 0..NAMES.len() {
        let philosopher = Philosopher {
            seat,
            mood: Mood::Thinking,
            forks: ConnMap::new(),
            meals: 0,
        };
        table.push(group.add(Config::default(), philosopher)?);
    }
    group.connect_all(Topology::Ring, PATIENCE)?;
    for seat in &table {
        group.with(*seat, |philosopher, net| philosopher.wait(net));
    }

    println!("        {}", row(NAMES));
    let (begin, mut shown, mut is_shared) = (Instant::now(), Vec::new(), false);
    let _ = group.run_until(PATIENCE, |group| {
        // All are on this thread, so this sees them at one moment.
        let all = group.handlers(&table);
        let (moods, meals): (Vec<_>, Vec<_>) = all.map(|it| (it.mood, it.meals)).unzip();
        if moods != shown {
            println!("{:4} ms {}", begin.elapsed().as_millis(), row(&moods));
        }
        let eats = |seat: usize| moods[seat % moods.len()] == Mood::Eating;
        is_shared |= (0..moods.len()).any(|seat| eats(seat) && eats(seat + 1));
        shown = moods;
        is_shared || meals.iter().all(|meals| *meals >= MEALS)
    })?;
    if is_shared {
        return Err("two neighbours eat with the same fork".into());
    }
    if group.handlers(&table).any(|it| it.meals < MEALS) {
        return Err("not everyone has eaten".into());
    }
    println!("meals   {}", row(group.handlers(&table).map(|it| it.meals)));
    Ok(())
}

/// Returns the cells of a row, each in the middle of its column.
fn row(cells: impl IntoIterator<Item = impl Display>) -> String {
    cells.into_iter().map(|it| format!("{it:^10}")).collect()
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dining_philosophers: {error}");
            ExitCode::FAILURE
        }
    }
}
