//! A world: its nodes, and what is done to them.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::hosted::Hosted;
use super::node_id::NodeId;
use super::observer::Observer;
use crate::config::Config;
use crate::handler::Handler;
use crate::net::Net;
use crate::node::Node;
use crate::sys::Poller;
use crate::sys::sim::{self, Faults, Happened, Random, SharedInternet, Trace};

/// A network of nodes in this thread, on a clock of its own; see [`sim`](super).
///
/// Time goes on only in [`World::run_for`] and [`World::run_until`].
pub struct World {
    pub(super) seed: u64,
    pub(super) internet: SharedInternet,
    pub(super) slots: Vec<Slot>,
    /// By poller, whose it is.
    pub(super) by_poller: Vec<usize>,
    /// Scripted peers so far.
    pub(super) wires: u32,
    pub(super) steps: u64,
    /// What always has to hold, as the test says.
    pub(super) promises: Vec<Promise>,
}

/// See [`World::always`].
pub(super) type Promise = Box<dyn FnMut(&mut World) -> Result<(), String>>;

/// A node's place, whether it runs or has crashed.
pub(super) struct Slot {
    pub(super) ip: IpAddr,
    config: Config,
    pub(super) poller: usize,
    pub(super) node: Option<Box<dyn Hosted>>,
}

impl World {
    /// A world without nodes, in which everything that is left to chance is drawn from `seed`. Its faults are
    /// [`Faults::drawn`].
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            internet: SharedInternet::new(seed),
            slots: Vec::new(),
            by_poller: Vec::new(),
            wires: 0,
            steps: 0,
            promises: Vec::new(),
        }
    }

    /// The seed that it was made with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Adds a node on a host of its own: 10.0.0.1, and so on upwards. A name that is empty becomes `n` with its number.
    ///
    /// # Panics
    ///
    /// When [`Config::validate`] would refuse the configuration.
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

    /// Adds a node on the host with this address. Several nodes on one host share its ports.
    ///
    /// # Panics
    ///
    /// When [`Config::validate`] would refuse the configuration.
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
    ) -> (usize, Box<dyn Hosted>) {
        let poller = sim::SimPoller::new(&self.internet, ip, index);
        let number = poller.index();
        self.by_poller.push(index);
        let observer = Observer::new(handler, self.internet.clone(), ip, number);
        match Node::with_poller(config.clone(), observer, Poller::Sim(poller)) {
            Ok(node) => (number, Box::new(node)),
            Err(error) => panic!("the configuration of node {index}: {error}"),
        }
    }

    /// The address of a node's host.
    pub fn ip<H>(&self, node: NodeId<H>) -> IpAddr {
        node.ip
    }

    /// The address under which others reach a node: its host's, with the port of its first listener. A node that does not listen
    /// and has not had its first turn yet is given it now, without waiting for time to go on, so that one that listens in
    /// [`Handler::on_start`] can be asked at once.
    ///
    /// # Panics
    ///
    /// When the node does not listen even so, or has crashed.
    pub fn addr<H: Handler + 'static>(&mut self, node: NodeId<H>) -> SocketAddr {
        let first = |_: &mut H, net: &mut Net| net.listeners().next();
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

    /// Whether a node runs: it was not crashed, or was restarted since.
    pub fn is_up<H>(&self, node: NodeId<H>) -> bool {
        self.slots[node.index].node.is_some()
    }

    /// Does something with a node between its turns, as a program does through [`Node::net`](crate::Node::net) and
    /// [`Node::handler_mut`](crate::Node::handler_mut). The node's next turn is planned anew, so this changes the run; to look
    /// only, there are [`World::handler`] and [`World::net`].
    ///
    /// # Panics
    ///
    /// When the node has crashed.
    pub fn with<H: Handler + 'static, R>(
        &mut self,
        node: NodeId<H>,
        call: impl FnOnce(&mut H, &mut Net) -> R,
    ) -> R {
        let (observer, net) = self.typed(node).parts_mut();
        let result = call(&mut observer.handler, net);
        self.plan(node.index);
        result
    }

    /// Has a node's loop call a function, as another thread does through [`Handle::post`](crate::Handle::post): the loop is woken,
    /// maybe late.
    ///
    /// # Errors
    ///
    /// Those of [`Handle::post`](crate::Handle::post).
    ///
    /// # Panics
    ///
    /// When the node has crashed.
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

    /// Crashes a node: it is gone, without a callback. What others hear of it is drawn from the seed: its kernel ends its
    /// connections properly, or resets them, or its machine has lost its power and says nothing at all. Its handler is given
    /// back, for what it had on disk.
    ///
    /// # Panics
    ///
    /// When the node has crashed already.
    pub fn crash<H: Handler + 'static>(&mut self, node: NodeId<H>) -> H {
        let slot = &mut self.slots[node.index];
        let (ip, poller) = (slot.ip, slot.poller);
        let Some(hosted) = slot.node.take() else {
            panic!("{node:?} has crashed already");
        };
        let neighbours = self.slots.iter().filter(|slot| slot.ip == ip);
        let is_alone = neighbours.count() == 1;
        let mut internet = self.internet.lock();
        let how = internet.draw_crash(is_alone);
        internet.count_crash();
        internet.note(sim::Who::Node(poller), "crash", 0, how as u64);
        internet.crash(poller, ip, how);
        drop(internet);
        match hosted.into_any().downcast::<Node<Observer<H>>>() {
            Ok(node) => node.into_handler().handler,
            Err(_) => panic!("{node:?} belongs to another world"),
        }
    }

    /// Starts a crashed node again: the same address and configuration, nothing of its former connections, and
    /// [`Handler::on_start`] to listen in.
    ///
    /// # Panics
    ///
    /// When the node runs.
    pub fn restart<H: Handler + 'static>(&mut self, node: NodeId<H>, handler: H) {
        assert!(!self.is_up(node), "{node:?} runs");
        let (ip, config) = (node.ip, self.slots[node.index].config.clone());
        self.internet.lock().boot(ip);
        let (poller, made) = self.make_node(node.index, ip, &config, handler);
        let slot = &mut self.slots[node.index];
        (slot.poller, slot.node) = (poller, Some(made));
        self.plan(node.index);
    }

    /// Changes what the system and the network do to the nodes, from now on.
    pub fn faults(&mut self, faults: Faults) {
        *self.internet.lock().faults_mut() = faults;
    }

    /// What has happened so far.
    pub fn happened(&self) -> Happened {
        self.internet.lock().happened()
    }

    /// The virtual time since the world was made.
    pub fn now(&self) -> Duration {
        self.internet.lock().now()
    }

    /// Turns of nodes so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A generator for the test's own decisions, drawn from the seed too.
    pub fn random(&mut self) -> Random {
        Random::new(self.internet.lock().random().next_u64())
    }

    /// What happened so far; see [`World::keep_trace`].
    pub fn trace(&self) -> Trace {
        self.internet.lock().trace().clone()
    }

    /// Keeps all lines of the trace from now on, not only the last few.
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
