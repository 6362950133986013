//! Callbacks that take virtual time.

use std::cell::RefCell;
use std::time::Duration;

use crate::sys::sim::SharedInternet;

thread_local! {
    /// The world whose node has a turn in this thread, and the poller of that
    /// node.
    static CURRENT: RefCell<Option<(SharedInternet, usize)>> = const { RefCell::new(None) };
}

/// Spends virtual time in a callback, like a computation or a slow disk.
///
/// Within a turn [`Net::now`](crate::Net::now) does not change, as on a real
/// network. The clock with which the loop measures turns and visits advances.
/// Messages that the node sends after this call leave later. Other nodes and
/// the network continue meanwhile. Bytes that arrive at this node are there in
/// its next turn, which begins when this one has ended.
///
/// The time may be fixed, drawn from a generator, or depend on the message.
/// [`Faults::slow_callback`](super::Faults::slow_callback) spends time in
/// callbacks that do not call this function. Outside the turn of a simulated
/// node the call has no effect, so handlers may call it on a real network.
///
/// ```
/// use std::time::Duration;
/// use peerloop::config::OnPanic;
/// use peerloop::sim::{self, Faults, World};
/// use peerloop::{Config, ConnId, Handler, Net, TimerId};
///
/// /// Computes for 20 ms in its first turn, so that a timer of 5 ms is late.
/// struct Busy;
///
/// impl Handler for Busy {
///     fn on_start(&mut self, net: &mut Net) {
///         net.set_timer(Duration::from_millis(5), 0);
///         sim::spend(Duration::from_millis(20));
///         assert_eq!(sim::spent(), Duration::from_millis(20));
///     }
///
///     fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
///         sim::spend(Duration::from_micros(message.len() as u64));
///     }
///
///     fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
///         net.shutdown(Duration::ZERO);
///     }
/// }
///
/// let config = Config { on_panic: OnPanic::Unwind, ..Config::default() };
/// let mut world = World::new(7);
/// world.faults(Faults::calm());
/// let node = world.node(config, Busy);
/// world.run_for(Duration::from_millis(19));
/// assert_eq!(world.net(node).metrics().turns, 1);
/// world.run_for(Duration::from_secs(1));
/// assert_eq!(world.net(node).metrics().turns, 2);
/// ```
pub fn spend(time: Duration) {
    CURRENT.with_borrow(|current| {
        if let Some((internet, _)) = current {
            internet.lock().spend(time);
        }
    });
}

/// Returns the virtual time that the callbacks of this turn have taken so far,
/// by the clock of the node's host. Zero outside the turn of a simulated node.
/// [`Net::now`](crate::Net::now) plus this is the current time.
pub fn spent() -> Duration {
    CURRENT.with_borrow(|current| {
        current
            .as_ref()
            .map_or(Duration::ZERO, |(internet, poller)| {
                internet.lock().spent(*poller)
            })
    })
}

/// Guard during which the time is that of one node, so that callbacks can spend
/// it.
pub(super) struct NodeTime {
    internet: SharedInternet,
    poller: usize,
    before: Option<(SharedInternet, usize)>,
}

impl NodeTime {
    pub(super) fn enter(internet: &SharedInternet, poller: usize) -> Self {
        internet.lock().enter(poller);
        Self {
            internet: internet.clone(),
            poller,
            before: CURRENT.replace(Some((internet.clone(), poller))),
        }
    }
}

impl Drop for NodeTime {
    fn drop(&mut self) {
        self.internet.lock().leave(self.poller);
        CURRENT.set(self.before.take());
    }
}
