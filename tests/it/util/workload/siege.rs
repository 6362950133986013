//! A node under attack, and honest peers that must be accepted and answered
//! within a time.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::Config;
use peerloop::sim::{Faults, Link, Random, Wire, World};

use super::siege_nodes::{Besieged, Honest, MESSAGE_MAX, Plan};

/// The seeds that CI runs.
pub const SIEGES: u64 = 60;

/// How often besiegers do something.
const STEP: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Reader,
    /// Takes the place of a handshake, and sends nothing, one wrong byte, or
    /// the first step.
    Squatter,
    Announcer,
    Flood,
}

struct Besieger {
    role: Role,
    /// One of these in each address, to connect others beside it.
    origin: Wire,
    wire: Wire,
    outbox: VecDeque<u8>,
    has_spoken: bool,
}

impl Besieger {
    /// A peer of the address of `origin`.
    fn new(world: &mut World, role: Role, origin: Option<Wire>, target: SocketAddr) -> Self {
        let wire = match origin {
            Some(origin) => world.wire_beside(origin, target),
            None => world.wire(target),
        };
        let wire = wire.expect("an IPv4 address");
        Self {
            role,
            origin: origin.unwrap_or(wire),
            wire,
            outbox: VecDeque::new(),
            has_spoken: false,
        }
    }

    /// Returns whether its connection goes on.
    fn act(&mut self, world: &mut World, random: &mut Random, plan: Plan) -> bool {
        if !self.has_spoken {
            self.has_spoken = true;
            self.speak(random, plan);
        }
        // More than the node takes of them in a step, in whole frames of no message.
        let amount = (40_000 / plan.floods.max(1)).next_multiple_of(4);
        if self.role == Role::Flood && self.outbox.len() < amount {
            self.outbox.resize(amount, 0);
        }
        if !self.outbox.is_empty() {
            let (bytes, _) = self.outbox.as_slices();
            match world.write_wire(self.wire, bytes) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        let sip = if self.role != Role::Reader {
            usize::MAX
        } else if random.chance(0.05) {
            2048
        } else {
            return true;
        };
        let ended = world.read_wire_up_to(self.wire, sip, &mut Vec::new());
        ended.is_ok_and(|ended| !ended)
    }

    fn speak(&mut self, random: &mut Random, plan: Plan) {
        if self.role == Role::Squatter {
            self.outbox.extend(match random.below(3) {
                0 => &b""[..],
                1 => b"x",
                _ => b"s",
            });
            return;
        }
        if plan.handshakes {
            self.outbox.extend(b"ss");
        }
        if self.role == Role::Reader {
            for _ in 0..200 {
                let len = random.below(MESSAGE_MAX as u64) as u32;
                self.outbox
                    .extend([[0, 0, 0, 4], len.to_be_bytes()].concat());
            }
        } else if self.role == Role::Announcer {
            self.outbox.extend((MESSAGE_MAX as u32).to_be_bytes());
            let part = random.below(MESSAGE_MAX as u64) as usize;
            self.outbox.extend(vec![7; part]);
        }
    }
}

/// All besiegers of a plan.
fn besiegers(world: &mut World, plan: Plan, target: SocketAddr) -> Vec<Besieger> {
    let mut all = Vec::new();
    let mut add = |role, count, addresses| {
        for _ in 0..addresses {
            let mut origin = None;
            for _ in 0..count {
                let besieger = Besieger::new(world, role, origin, target);
                origin = Some(besieger.origin);
                all.push(besieger);
            }
        }
    };
    add(Role::Reader, 1, plan.readers);
    add(Role::Announcer, 1, plan.announcers);
    add(Role::Flood, plan.floods, 1);
    if plan.handshakes {
        add(Role::Squatter, plan.squats, plan.squatters);
    }
    all
}

/// One siege from this seed.
pub fn besiege(seed: u64) {
    let mut random = Random::new(seed ^ 0x51e6e);
    let plan = Plan::drawn(&mut random);
    let mut world = World::new(seed);
    let mut faults = Faults::calm();
    faults.poll_selector = 0.5;
    faults.clock_drift = 0.5;
    faults.shuffled = random.unit();
    faults.split_readiness = 0.3 * random.unit();
    world.faults(faults);
    world.default_link(Link::new(plan.latency));
    let node = world.node(plan.config(), Besieged::new(plan));
    let target = world.addr(node);
    let honest = [true, false].map(|stays| Honest::new(plan, &mut random, target, stays));
    let [resident, newcomer] = honest.map(|honest| world.node(Config::default(), honest));
    world.run_for(Duration::from_millis(200));
    let mut besiegers = besiegers(&mut world, plan, target);
    for step in 0..220 {
        // Not from the beginning: to look at all that arrive at once takes its time.
        if step == 40 {
            for node in [resident, newcomer] {
                world.promise_served_within(node, plan.served_within());
                world.promise_connected_within(node, plan.connected_within());
            }
        }
        // Refused peers connect again, a few at a time.
        let mut patience = 6;
        for besieger in &mut besiegers {
            if !besieger.act(&mut world, &mut random, plan) && patience > 0 {
                patience -= 1;
                world.close_wire(besieger.wire);
                let origin = Some(besieger.origin);
                *besieger = Besieger::new(&mut world, besieger.role, origin, target);
            }
        }
        world.run_for(STEP);
    }
    let answers = [resident, newcomer].map(|node| world.handler(node).answers);
    assert!(answers.iter().all(|answers| *answers > 3), "{answers:?}");
}
