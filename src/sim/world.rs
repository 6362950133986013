//! A world and its nodes.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::any_node::AnyNode;
use super::node_id::NodeId;
use super::node_time::NodeTime;
use super::observer::Observer;
use super::promises::Promise;
use crate::config::Config;
use crate::handler::Handler;
use crate::net::Net;
use crate::node::Node;
use crate::sys::Poller;
use crate::sys::sim::{self, FaultCounts, Faults, Random, SharedInternet, Trace};

/// A simulated network of nodes, which runs in this thread on a virtual clock.
/// See [`sim`](super).
///
/// The clock advances only in [`World::run_for`] and [`World::run_until`].
pub struct World {
    pub(super) seed: u64,
    pub(super) internet: SharedInternet,
    pub(super) slots: Vec<Slot>,
    /// Index of the node of each poller.
    pub(super) by_poller: Vec<usize>,
    /// Number of scripted peers so far.
    pub(super) wires: u32,
    pub(super) steps: u64,
    /// Invariants that [`World::always`] has added.
    pub(super) invariants: Vec<Invariant>,
    pub(super) promises: Vec<Promise>,
}

/// The type of a check of [`World::always`].
pub(super) type Invariant = Box<dyn FnMut(&mut World) -> Result<(), String>>;

/// A node that runs or has crashed.
pub(super) struct Slot {
    pub(super) ip: IpAddr,
    config: Config,
    pub(super) poller: usize,
    pub(super) node: Option<Box<dyn AnyNode>>,
}

impl World {
    /// Creates a world without nodes. All random numbers are drawn from `seed`.
    /// The faults are [`Faults::drawn`] until [`World::faults`] is called.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            internet: SharedInternet::new(seed),
            slots: Vec::new(),
            by_poller: Vec::new(),
            wires: 0,
            steps: 0,
            invariants: Vec::new(),
            promises: Vec::new(),
        }
    }

    /// Returns the seed of the world.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Adds a node on a new host: 10.0.0.1, then 10.0.0.2 and so on. If
    /// [`Config::name`] is empty, the name is `n` and the number of the node,
    /// from zero. The node has its first turn when the world runs.
    ///
    /// # Panics
    ///
    /// Panics if [`Config::validate`] returns an error.
    pub fn node<H: Handler + 'static>(&mut self, config: Config, handler: H) -> NodeId<H> {
        let mut ip = 0x0a00_0001 + self.slots.len() as u32;
        while self
            .internet
            .lock()
            .has_host(Ipv4Addr::from_bits(ip).into())
        {
            ip += 1;
        }
        self.node_at(Ipv4Addr::from_bits(ip).into(), config, handler)
    }

    /// Adds a node on the host with this address. Nodes on one host share its
    /// ports.
    ///
    /// # Panics
    ///
    /// Panics if [`Config::validate`] returns an error.
    pub fn node_at<H: Handler + 'static>(
        &mut self,
        ip: IpAddr,
        mut config: Config,
        handler: H,
    ) -> NodeId<H> {
        let index = self.slots.len();
        if config.name.is_empty() {
            config.name = format!("n{index}");
        }
        let (poller, node) = self.make_node(index, ip, &config, handler);
        self.slots.push(Slot {
            ip,
            config,
            poller,
            node: Some(node),
        });
        self.plan(index);
        NodeId::new(index, ip)
    }

    fn make_node<H: Handler + 'static>(
        &mut self,
        index: usize,
        ip: IpAddr,
        config: &Config,
        handler: H,
    ) -> (usize, Box<dyn AnyNode>) {
        let poller = sim::SimPoller::new(&self.internet, ip, index);
        let number = poller.index();
        self.by_poller.push(index);
        let observer = Observer::new(handler, self.internet.clone(), number);
        match Node::with_poller(config.clone(), observer, Poller::Sim(poller)) {
            Ok(node) => (number, Box::new(node)),
            Err(error) => panic!("the configuration of node {index}: {error}"),
        }
    }

    /// Returns the address of a node's host.
    pub fn ip<H>(&self, node: NodeId<H>) -> IpAddr {
        node.ip
    }

    /// Returns the address at which others reach a node: the IP address of its
    /// host, with the port of its first listener.
    ///
    /// If the node does not listen and has not had its first turn, that turn
    /// runs now, without advancing the clock. A node that listens in
    /// [`Handler::on_start`] therefore has an address at once.
    ///
    /// # Panics
    ///
    /// Panics if the node does not listen, or has crashed.
    pub fn addr<H: Handler + 'static>(&mut self, node: NodeId<H>) -> SocketAddr {
        let first = |_: &mut H, net: &mut Net| Some(net.listeners().next()?.addr);
        let mut listener = self.with(node, first);
        if listener.is_none() {
            self.start(node.index);
            listener = self.with(node, first);
        }
        let Some(addr) = listener else {
            panic!("{node:?} does not listen");
        };
        if addr.ip().is_unspecified() {
            SocketAddr::new(node.ip, addr.port())
        } else {
            addr
        }
    }

    /// Returns whether a node runs: it has not crashed, or was restarted since.
    pub fn is_up<H>(&self, node: NodeId<H>) -> bool {
        self.slots[node.index].node.is_some()
    }

    /// Calls a function with the handler and the [`Net`] of a node between two
    /// turns, as a program does with [`Node::net`](crate::Node::net) and
    /// [`Node::handler_mut`](crate::Node::handler_mut).
    ///
    /// The next turn of the node is planned again, which changes the run. To
    /// look at a node, use [`World::handler`] and [`World::net`].
    ///
    /// # Panics
    ///
    /// Panics if the node has crashed or belongs to another world.
    pub fn with<H: Handler + 'static, R>(
        &mut self,
        node: NodeId<H>,
        call: impl FnOnce(&mut H, &mut Net) -> R,
    ) -> R {
        let node_time = NodeTime::enter(&self.internet, self.slots[node.index].poller);
        let (observer, net) = self.typed(node).parts_mut();
        let result = call(&mut observer.handler, net);
        drop(node_time);
        self.update_promises(node.index);
        self.plan(node.index);
        result
    }

    /// Makes the loop of a node call a function, as another thread does with
    /// [`Handle::post`](crate::Handle::post). The call runs in a later turn.
    /// The wake of the loop may be delayed; see [`Faults::delayed_wake`].
    ///
    /// # Errors
    ///
    /// As [`Handle::post`](crate::Handle::post).
    ///
    /// # Panics
    ///
    /// Panics if the node has crashed or belongs to another world.
    pub fn post<H: Handler + 'static>(
        &mut self,
        node: NodeId<H>,
        call: impl FnOnce(&mut H, &mut Net) + Send + 'static,
    ) -> io::Result<()> {
        let handle = self.typed(node).handle();
        handle.post(move |observer, net| call(&mut observer.handler, net))
    }

    fn typed<H: Handler + 'static>(&mut self, node: NodeId<H>) -> &mut Node<Observer<H>> {
        let Some(hosted) = &mut self.slots[node.index].node else {
            panic!("{node:?} has crashed");
        };
        match hosted.as_any_mut().downcast_mut() {
            Some(node) => node,
            None => panic!("{node:?} belongs to another world"),
        }
    }

    /// Crashes a node, without a callback. Returns its handler, for the state
    /// that was on disk.
    ///
    /// The seed decides what the peers observe: the kernel closes the
    /// connections, or resets them, or the machine loses its power and sends
    /// nothing.
    ///
    /// # Panics
    ///
    /// Panics if the node has crashed already.
    pub fn crash<H: Handler + 'static>(&mut self, node: NodeId<H>) -> H {
        let slot = &mut self.slots[node.index];
        let (ip, poller) = (slot.ip, slot.poller);
        let Some(hosted) = slot.node.take() else {
            panic!("{node:?} has crashed already");
        };
        let promises = self.promises.iter_mut();
        let of_node = promises.filter(|it| it.index == node.index);
        of_node.for_each(Promise::clear);
        let neighbours = self.slots.iter().filter(|slot| slot.ip == ip);
        let is_alone = neighbours.count() == 1;
        let node_time = NodeTime::enter(&self.internet, poller);
        let mut internet = self.internet.lock();
        let how = internet.draw_crash(is_alone);
        internet.note(sim::Actor::Node(poller), "crash", 0, how as u64);
        internet.crash(poller, ip, how);
        drop(internet);
        drop(node_time);
        match hosted.into_any().downcast::<Node<Observer<H>>>() {
            Ok(node) => node.into_handler().handler,
            Err(_) => panic!("{node:?} belongs to another world"),
        }
    }

    /// Starts a crashed node again, with the same address and configuration and
    /// without its connections. [`Handler::on_start`] is called again.
    ///
    /// # Panics
    ///
    /// Panics if the node runs.
    pub fn restart<H: Handler + 'static>(&mut self, node: NodeId<H>, handler: H) {
        assert!(!self.is_up(node), "{node:?} runs");
        let (ip, config) = (node.ip, self.slots[node.index].config.clone());
        self.internet.lock().boot(ip);
        let (poller, made) = self.make_node(node.index, ip, &config, handler);
        let slot = &mut self.slots[node.index];
        (slot.poller, slot.node) = (poller, Some(made));
        self.plan(node.index);
    }

    /// Sets the faults from now on. Default: [`Faults::drawn`].
    pub fn faults(&mut self, faults: Faults) {
        *self.internet.lock().faults_mut() = faults;
    }

    /// Returns how often each fault has happened so far.
    pub fn fault_counts(&self) -> FaultCounts {
        self.internet.lock().counts()
    }

    /// Returns the virtual time since the creation of the world.
    pub fn now(&self) -> Duration {
        self.internet.lock().now()
    }

    /// Returns the number of turns of all nodes so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns a generator for the random decisions of a test, seeded from the
    /// world.
    pub fn random(&mut self) -> Random {
        Random::new(self.internet.lock().random().next_u64())
    }

    /// Returns the trace so far. It has only the last lines unless
    /// [`World::keep_trace`] was called.
    pub fn trace(&self) -> Trace {
        self.internet.lock().trace().clone()
    }

    /// Keeps all lines of the trace from now on. Default: only the last lines
    /// are kept.
    pub fn keep_trace(&mut self) {
        self.internet.lock().trace_mut().keep_all();
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .field("nodes", &self.slots.len())
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}
