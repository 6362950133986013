//! All calls except sends.

use super::*;

impl Chatter {
    pub(super) fn pick(&mut self) -> Option<ConnId> {
        let all: Vec<ConnId> = self.talks.keys().collect();
        let chosen = self.random.below(all.len() as u64) as usize;
        all.get(chosen).copied()
    }

    /// Connects to a node, sometimes with other settings than the node has.
    pub(super) fn connect(&mut self, net: &mut Net) {
        let mut addr = self.others[self.random.below(self.others.len() as u64) as usize];
        let second = self.random.chance(0.4);
        addr.set_port(PORTS[usize::from(second)]);
        let mut options = net.connect_options();
        if second {
            options.connection_mut().framing = self.rules.kinds[1].framing();
        }
        if self.random.chance(0.2) {
            let connection = options.connection_mut();
            self.change(connection);
            connection.send_queue.on_full = OnFull::Disconnect;
            options.allow_duplicate = true;
        }
        if self.random.chance(0.1) {
            let mut source = self.listen_addr(0);
            source.set_port(0);
            options.source = Some(source);
        }
        match net.connect_with(addr, options) {
            Ok(conn) => {
                self.begin(conn, Direction::Outbound);
                assert_eq!(net.send(conn, b"too early"), Err(SendError::Closed));
                self.toggle(net, conn);
            }
            Err(ConnectError::ShuttingDown) => assert!(self.is_stopping),
            Err(ConnectError::AlreadyConnected | ConnectError::AlreadyConnecting) => {
                net.find(addr).expect("there is one");
            }
            Err(_) => {}
        }
    }

    /// Changes settings of a connection.
    pub(super) fn change(&mut self, connection: &mut ConnectionConfig) {
        connection.timeouts = some_timeouts(&mut self.random);
        connection.allow_half_open = true;
        connection.max_message_len = 39_000;
    }

    /// An id was given out.
    pub(super) fn begin(&mut self, conn: ConnId, direction: Direction) {
        let attempt = Attempt {
            direction,
            must_fail_with: None,
        };
        assert!(
            self.attempts.insert(conn, attempt).is_none(),
            "an id is given out once"
        );
    }

    /// Changes settings of a connection at any moment of it. Messages stay below
    /// the maximum.
    pub(super) fn change_settings(&mut self, net: &mut Net, conn: ConnId) {
        if self.random.chance(0.5) {
            let timeouts = some_timeouts(&mut self.random);
            net.set_timeouts(conn, timeouts).expect("none is zero");
        } else {
            let max = self.random.between(39_000, 60_000) as usize;
            net.set_max_message_len(conn, max).expect("it is valid");
        }
    }

    /// Pauses or resumes a connection that is not open yet, or does both.
    pub(super) fn toggle(&mut self, net: &mut Net, conn: ConnId) {
        if self.active && self.random.chance(0.3) {
            self.pause(net, conn);
        }
        if self.random.chance(0.5) {
            self.resume(net, conn);
        }
    }

    pub(super) fn pause(&mut self, net: &mut Net, conn: ConnId) {
        net.pause(conn);
        self.paused.insert(conn);
    }

    /// Resumes a connection. One that is not paused is seldom resumed, because that could
    /// hide that it was paused by mistake.
    pub(super) fn resume(&mut self, net: &mut Net, conn: ConnId) {
        if self.paused.remove(&conn) || self.random.chance(0.02) {
            net.resume(conn);
        }
    }

    pub(super) fn toggle_connecting(&mut self, net: &mut Net) {
        let all: Vec<ConnId> = net.connecting().map(|it| it.id()).collect();
        for conn in all {
            assert!(self.attempts.contains_key(&conn));
            self.toggle(net, conn);
            if self.random.chance(0.1) {
                self.change_settings(net, conn);
            }
        }
    }

    /// Aborts with a reason, with which an open connection has to end.
    pub(super) fn abort(&mut self, net: &mut Net, conn: ConnId) {
        let was_open = net.connections().any(|it| it.id() == conn);
        let reason = if self.random.chance(0.5) {
            net.abort(conn);
            DisconnectReason::Local
        } else {
            net.abort_with_reason(conn, ABORTED);
            DisconnectReason::Application(ABORTED)
        };
        if was_open {
            let talk = self.talks.get_mut(conn).expect("it is connected");
            talk.must_end_with = Some(reason);
        }
    }

    /// Uses the ids of connections that have ended: nothing follows.
    pub(super) fn use_stale(&mut self, net: &mut Net) {
        for &conn in &self.stale {
            assert_eq!(net.send(conn, b"stale"), Err(SendError::Closed));
            let tracked = net.send_tracked(conn, b"stale", u64::MAX);
            assert_eq!(tracked, Err(SendError::Closed));
            assert!(!net.is_writable(conn));
            net.close(conn);
            net.abort(conn);
            net.abort_with_reason(conn, "stale");
            net.pause(conn);
            net.resume(conn);
            net.close_write(conn);
            net.flush(conn);
            assert_eq!(net.set_max_message_len(conn, 1), Ok(()));
            assert_eq!(net.set_timeouts(conn, Timeouts::default()), Ok(()));
            assert_eq!(net.set_framing(conn, Framing::Raw), Ok(()));
            let refused = net.send_and_close(conn, "stale");
            assert_eq!(refused, Err(SendError::Closed));
        }
    }

    pub(super) fn relisten(&mut self, net: &mut Net) {
        if self.is_stopping {
            return;
        }
        let which = self.random.below(2) as usize;
        let listener = self.listeners[which].take().expect("it listens");
        let is_open = |net: &Net| net.listeners().any(|it| it.id == listener);
        assert!(is_open(net));
        // The second call has a stale id.
        net.close_listener(listener);
        net.close_listener(listener);
        assert!(!is_open(net));
        self.listen(net, which);
        net.close_listener(listener);
        assert_eq!(net.listeners().count(), PORTS.len());
    }

    pub(super) fn look_around(&mut self, net: &mut Net) {
        assert_eq!(net.connection_count(), net.connections().count());
        assert_eq!(net.connecting_count(), net.connecting().count());
        for direction in [Direction::Inbound, Direction::Outbound] {
            let connections = net.connections();
            let count = connections.filter(|it| it.info().direction == direction);
            assert_eq!(net.connection_count_of(direction), count.count());
        }
        assert!(net.listeners().count() <= 2 && net.config().connection.max_message_len == 40_000);
        let total = net.traffic();
        for conn in self.talks.keys() {
            let connection = net.connection(conn).expect("it is connected");
            assert!(connection.id() == conn && connection.info().local_addr.is_some());
            let traffic = connection.traffic();
            assert!(traffic.bytes_sent <= total.bytes_sent);
            assert!(traffic.messages_received <= total.messages_received);
            assert!(connection.queued_bytes() as u64 <= traffic.bytes_sent + 64);
        }
    }

    /// One thing of all that a handler may do.
    pub fn act(&mut self, net: &mut Net) {
        // A command of another thread can be run late.
        if !self.active {
            return;
        }
        let what = self.random.below(1000);
        if what < 150 {
            return self.connect(net);
        }
        let Some(conn) = self.pick() else { return };
        match what {
            150..160 => self.change_settings(net, conn),
            160..590 => {
                for _ in 0..=self.random.below(5) {
                    self.send(net, conn);
                }
            }
            590..600 => self.send_and_close(net, conn),
            600..660 => self.broadcast(net, conn),
            660..680 => self.broadcast_all(net, conn),
            680..740 => self.pause(net, conn),
            740..840 => self.resume(net, conn),
            840..880 => net.flush(conn),
            880..900 => net.close(conn),
            900..910 => self.abort(net, conn),
            910..930 => net.close_write(conn),
            930..940 => self.relisten(net),
            940..950 => self.cancel_timer(net),
            950..970 => self.use_stale(net),
            970..980 => self.look_around(net),
            980 if self.random.chance(0.2) => {
                let grace = Duration::from_millis(self.random.below(3_000));
                self.shut_down(net, grace);
            }
            981..990 => self.toggle_connecting(net),
            _ => {
                let all: Vec<ConnId> = net.connecting().map(|it| it.id()).collect();
                all.into_iter().for_each(|conn| net.close(conn));
            }
        }
    }
}
