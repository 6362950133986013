//! The callbacks, with the checks of their order.

use super::*;

impl Handler for Chatter {
    fn on_start(&mut self, net: &mut Net) {
        self.listen(net, 0);
        self.listen(net, 1);
        self.rearm(net);
        self.stumble();
    }

    fn on_accept(&mut self, net: &mut Net, info: &ConnInfo) -> Admission {
        assert_eq!(info.direction, Direction::Inbound);
        self.check_inbound(info);
        let _ = net.find(info.addr);
        self.stumble();
        if self.active && self.random.chance(0.05) {
            Admission::Refuse
        } else {
            Admission::Admit
        }
    }

    fn transport(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        match info.direction {
            Direction::Inbound => {
                self.check_inbound(info);
                self.begin(conn, info.direction);
            }
            Direction::Outbound => assert!(self.attempts.contains_key(&conn)),
        }
        self.toggle(net, conn);
        self.stumble();
        if self.active && self.random.chance(0.02) {
            let attempt = self.attempts.get_mut(&conn).expect("it has begun");
            attempt.must_fail_with = Some(ConnectError::Transport(TransportError::Handler));
            return Err("no transport for this one".into());
        }
        Ok(self.rules.transport(info.direction, &mut self.random))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let connection = net.connection(conn).expect("it is connected");
        let info = connection.info();
        let attempt = self.attempts.remove(&conn).expect("it had no outcome");
        assert!(attempt.direction == info.direction && attempt.must_fail_with.is_none());
        let local_addr = info.local_addr.expect("it is connected");
        let server = match info.direction {
            Direction::Outbound => info.addr,
            Direction::Inbound => local_addr,
        };
        let talk = Talk {
            kind: self.rules.kind(server),
            sent: 0,
            heard: 0,
            messages: 0,
            frame_bytes: 0,
            tracked: Vec::new(),
            is_finished: false,
            must_end_with: None,
        };
        assert!(self.talks.insert(conn, talk).is_none());
        self.stumble();
        if self.random.chance(0.7) {
            self.send(net, conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.messages += 1;
        let talk = self.talks.get_mut(conn).expect("it is connected");
        assert!(!talk.is_finished, "nothing comes after the end");
        assert!(!self.paused.contains(&conn), "{conn} is paused");
        talk.heard = talk.kind.check(talk.heard, message);
        talk.messages += 1;
        talk.frame_bytes += talk.kind.frame_len(message.len());
        talk.check_received(net, conn);
        self.pace.spend(&mut self.random, message);
        if self.active && self.random.chance(0.3) {
            self.act(net);
        }
        self.stumble();
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.stumble();
        // Not always: with a high watermark of a few bytes, each message brings the next drain.
        if self.active && self.random.chance(0.5) {
            self.send(net, conn);
        }
    }

    fn on_sent(&mut self, _: &mut Net, conn: ConnId, token: u64, _: SendOutcome) {
        let talk = self.talks.get_mut(conn).expect("it is connected");
        assert_eq!(talk.tracked.remove(0), token, "answers come in order");
        self.stumble();
    }

    fn on_read_closed(&mut self, net: &mut Net, conn: ConnId) {
        let talk = self.talks.get_mut(conn).expect("it is connected");
        assert!(!std::mem::replace(&mut talk.is_finished, true));
        self.stumble();
        if self.random.chance(0.5) {
            net.close(conn);
        }
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        let connection = net.connection(conn).expect("this is its last callback");
        assert_eq!(connection.info(), *info);
        let attempt = self.attempts.remove(&conn).expect("it had no outcome");
        assert_eq!(attempt.direction, info.direction);
        if let Some(expected) = attempt.must_fail_with {
            assert_eq!(error, expected);
        }
        self.forget(conn);
        if self.active && self.random.chance(0.1) {
            self.connect(net);
        }
        self.stumble();
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        let talk = self.talks.remove(conn).expect("it was connected");
        assert!(talk.tracked.is_empty(), "every tracked send was answered");
        talk.check_received(net, conn);
        if let Some(expected) = talk.must_end_with {
            assert_eq!(reason, expected);
        }
        self.forget(conn);
        if self.active && self.random.chance(0.2) {
            self.act(net);
        }
        self.stumble();
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
        let known = self.timers.iter().position(|(set, _)| *set == timer);
        let (_, due) = self.timers.swap_remove(known.expect("a timer fires once"));
        assert!(due <= net.now(), "a timer is never early");
        if self.active {
            self.rearm(net);
            self.act(net);
            self.stumble();
        }
    }

    fn on_turn(&mut self, net: &mut Net) {
        if self.active && self.random.chance(0.01) {
            if let Some(conn) = self.pick() {
                self.send(net, conn);
            }
            self.stumble();
        }
    }
}
