//! Cuts between hosts, and the retransmissions after them.

use std::net::IpAddr;
use std::time::Duration;

use super::event::Event;
use super::internet::Internet;
use super::socket::{Owner, SocketState};
use super::trace::{Actor, mix};

/// Maximum time until segments are sent again after a partition has healed.
const RESEND_MAX: Duration = Duration::from_millis(400);

impl Internet {
    pub(crate) fn partition(&mut self, from: &[IpAddr], to: &[IpAddr]) {
        self.note(Actor::Network, "partition", digest(from), digest(to));
        self.links.cut(from, to);
        self.links.cut(to, from);
    }

    pub(crate) fn partition_one_way(&mut self, from: &[IpAddr], to: &[IpAddr]) {
        self.note(Actor::Network, "cut", digest(from), digest(to));
        self.links.cut(from, to);
    }

    pub(crate) fn heal(&mut self, from: &[IpAddr], to: &[IpAddr]) {
        self.note(Actor::Network, "heal", digest(from), digest(to));
        self.links.mend(from, to);
        self.resend_held();
    }

    pub(crate) fn heal_all(&mut self) {
        self.note(Actor::Network, "heal all", 0, 0);
        self.links.mend_all();
        self.resend_held();
    }

    /// Sends the segments that were held back again, in their order. Segments
    /// of a closed socket are lost.
    pub(super) fn resend_held(&mut self) {
        let delay = Duration::from_nanos(self.random.below(RESEND_MAX.as_nanos() as u64));
        let at = self.now() + delay;
        for segment in self.links.take_held() {
            if let Event::Data { from, .. } = segment {
                let Some(socket) = self.sockets.get_mut(&from) else {
                    continue;
                };
                if socket.owner == Owner::PoweredOff || socket.state == SocketState::Closed {
                    continue;
                }
                // Segments on the way wait for the retransmission, and segments
                // that are sent from now on arrive after both.
                let after = at + Duration::from_nanos(1);
                socket.next_arrival = socket.next_arrival.max(after);
                socket.resent_at = at;
            }
            self.schedule(at, segment);
        }
    }
}

/// Returns the number of a group of hosts in traces. For one host it is its
/// number in 10.0.0.0/8.
fn digest(hosts: &[IpAddr]) -> u64 {
    let number = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits() & 0x00ff_ffff),
        IpAddr::V6(ip) => ip.to_bits() as u64,
    };
    match hosts {
        [one] => number(one),
        several => several.iter().fold(0, |sum, ip| mix(sum, number(ip))),
    }
}
