//! Round trips.

use std::io;
use std::time::{Duration, Instant};

use peerloop::group::{Group, MemberId};
use peerloop::{Config, ConnId, Handler, Net, Node};

use super::{Running, config};
use crate::job::{Job, PATIENCE, Value, in_time};
use crate::messages::Trips;

/// Answers every message with itself.
pub struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if net.send(conn, message).is_err() {
            net.abort(conn);
        }
    }
}

/// Keeps round trips under way on its one connection.
struct Pinger {
    trips: Trips,
    conn: Option<ConnId>,
}

impl Pinger {
    fn new(size: usize, outstanding: u64) -> Self {
        let trips = Trips::new(size, outstanding);
        Self { trips, conn: None }
    }

    fn ask(&mut self, net: &mut Net) {
        let Some(conn) = self.conn else { return };
        while let Some(question) = self.trips.ask() {
            if net.send(conn, question).is_err() {
                return net.abort(conn);
            }
        }
    }
}

impl Handler for Pinger {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
        self.ask(net);
    }

    fn on_message(&mut self, net: &mut Net, _: ConnId, message: &[u8]) {
        self.trips.take(message);
        self.ask(net);
    }

    // Between jobs nothing is on the way that would call the pinger: this timer does.
    fn on_timer(&mut self, net: &mut Net, _: peerloop::TimerId, goal: u64) {
        self.trips.begin(goal);
        self.ask(net);
    }
}

struct OnTwo {
    pinger: Node<Pinger>,
    _echo: Running<Echo>,
}

impl Job for OnTwo {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let begun = Instant::now();
        self.pinger.handler_mut().trips.begin(amount);
        self.pinger.net().set_timer(Duration::ZERO, amount);
        while !self.pinger.handler().trips.over() {
            let _ = self.pinger.turn(Some(PATIENCE))?;
            in_time(begun, "the answers")?;
        }
        self.pinger.handler_mut().trips.values()
    }
}

/// Round trips between two threads.
pub fn on_two(
    size: usize,
    outstanding: u64,
    busy_poll: Option<Duration>,
) -> io::Result<Box<dyn Job>> {
    let config = Config {
        busy_poll,
        ..config()
    };
    let echo = Running::new(config.clone(), Echo)?;
    let mut pinger = Node::new(config, Pinger::new(size, outstanding))?;
    pinger.net().connect(echo.addr).map_err(io::Error::other)?;
    let begun = Instant::now();
    while pinger.handler().conn.is_none() {
        let _ = pinger.turn(Some(PATIENCE))?;
        in_time(begun, "the connection")?;
    }
    Ok(Box::new(OnTwo {
        pinger,
        _echo: echo,
    }))
}

struct OnOne {
    group: Group,
    pinger: MemberId<Pinger>,
}

impl OnOne {
    fn pinger(&mut self) -> &mut Pinger {
        let pinger = self.group.handler_mut(self.pinger);
        pinger.expect("the member was never removed")
    }

    fn run_until(&mut self, over: fn(&Pinger) -> bool) -> io::Result<()> {
        let begun = Instant::now();
        while !over(self.pinger()) {
            let _ = self.group.turn(Some(PATIENCE))?;
            in_time(begun, "the answers")?;
        }
        Ok(())
    }
}

impl Job for OnOne {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        self.pinger().trips.begin(amount);
        if let Some(net) = self.group.net(self.pinger) {
            net.set_timer(Duration::ZERO, amount);
        }
        self.run_until(|pinger| pinger.trips.over())?;
        self.pinger().trips.values()
    }
}

/// Round trips between two nodes of a group.
pub fn on_one(size: usize, outstanding: u64) -> io::Result<Box<dyn Job>> {
    let mut group = Group::new()?;
    let echo = group.add(config(), Echo)?;
    let pinger = group.add(config(), Pinger::new(size, outstanding))?;
    let addr = group
        .net(echo)
        .map(|net| net.listen("127.0.0.1:0").map(|l| l.addr));
    if let (Some(addr), Some(net)) = (addr.transpose()?, group.net(pinger)) {
        net.connect(addr).map_err(io::Error::other)?;
    }
    let mut job = OnOne { group, pinger };
    job.run_until(|pinger| pinger.conn.is_some())?;
    Ok(Box::new(job))
}
