//! Messages and broadcasts.

use super::*;

impl Chatter {
    /// The next message of a connection.
    pub(super) fn compose(&mut self, conn: ConnId) -> Option<Vec<u8>> {
        let talk = self.talks.get(conn)?;
        let extra = match self.random.below(20) {
            0 => 1 + self.random.below(30_000),
            1..=4 => self.random.below(2_000),
            _ => self.random.below(40),
        };
        Some(talk.kind.message(talk.sent, extra))
    }

    pub fn send(&mut self, net: &mut Net, conn: ConnId) {
        let Some(body) = self.compose(conn) else {
            return;
        };
        let len = body.len();
        let could = net.is_writable(conn);
        let result = match self.random.below(5) {
            0 => net.send(conn, Bytes::from(body)),
            1 => {
                let (front, back) = body.split_at(body.len() / 3);
                net.send(conn, Body::parts(&[front, back].map(IoSlice::new)))
            }
            2 => {
                self.next_token += 1;
                let result = net.send_tracked(conn, &body, self.next_token);
                if result.is_ok() {
                    let talk = self.talks.get_mut(conn).expect("it is connected");
                    talk.tracked.push(self.next_token);
                }
                result
            }
            3 => net.send(conn, body),
            _ => net.send(conn, &body),
        };
        let legal = matches!(result, Ok(()) | Err(SendError::Full | SendError::Closed));
        assert!(
            legal && !(could && result == Err(SendError::Closed)),
            "{result:?}"
        );
        if result.is_ok() {
            let talk = self.talks.get_mut(conn).expect("it is connected");
            talk.sent += talk.kind.places(len);
        }
    }

    /// Sends one message more and closes. If the message was refused, the connection is
    /// as it was.
    pub(super) fn send_and_close(&mut self, net: &mut Net, conn: ConnId) {
        let Some(body) = self.compose(conn) else {
            return;
        };
        let state = |net: &Net| net.connection(conn).map(|connection| connection.state());
        let before = state(net);
        let could = net.is_writable(conn);
        let result = net.send_and_close(conn, &body);
        match result {
            Ok(()) => {
                assert_eq!(before, Some(ConnectionState::Connected));
                assert_eq!(state(net), Some(ConnectionState::Closing));
                let refused = net.send(conn, b"closed");
                assert_eq!(refused, Err(SendError::Closed));
            }
            // With `OnFull::Disconnect` it has ended.
            Err(SendError::Full) => {
                assert!([before, Some(ConnectionState::Closing)].contains(&state(net)));
            }
            Err(error) => assert!(!could && error == SendError::Closed, "{error}"),
        }
    }

    /// One message to all for which it is the next one, and to one that has ended.
    pub(super) fn broadcast(&mut self, net: &mut Net, conn: ConnId) {
        let Some(body) = self.compose(conn) else {
            return;
        };
        let Some(Talk { kind, sent, .. }) = self.talks.get(conn) else {
            return;
        };
        let alike = |talk: &Talk| talk.sent == *sent && talk.kind.is_raw() == kind.is_raw();
        let all = self.talks.iter().filter(|(_, talk)| alike(talk));
        let all: Vec<ConnId> = all.map(|(conn, _)| conn).collect();
        let before: Vec<u64> = all.iter().map(|conn| sent_by(net, *conn)).collect();
        let stale = self.stale.first().copied();
        let outcome = net.broadcast(all.iter().copied().chain(stale), &body);
        let mut queued = 0;
        for (conn, before) in all.into_iter().zip(before) {
            if sent_by(net, conn) > before {
                queued += 1;
                let talk = self.talks.get_mut(conn).expect("it is connected");
                talk.sent += talk.kind.places(body.len());
            }
        }
        assert_eq!(outcome.queued, queued, "{outcome:?}");
        assert!(
            outcome.closed >= usize::from(stale.is_some()),
            "{outcome:?}"
        );
    }

    /// Sends one message to all connections but one. In a raw stream it could
    /// not be told from its neighbours.
    pub(super) fn broadcast_all(&mut self, net: &mut Net, except: ConnId) {
        if self.rules.kinds.iter().any(|kind| kind.is_raw()) {
            return self.broadcast(net, except);
        }
        let all: Vec<ConnId> = net
            .connections()
            .map(|connection| connection.id())
            .collect();
        let before: Vec<u64> = all.iter().map(|conn| sent_by(net, *conn)).collect();
        let outcome = net.broadcast_all(ANNOUNCEMENT, Some(except));
        let mut queued = 0;
        for (conn, before) in all.iter().zip(before) {
            let sent = sent_by(net, *conn) - before;
            assert!(sent <= u64::from(*conn != except), "{conn}: {sent}");
            queued += sent as usize;
        }
        assert_eq!(outcome.queued, queued, "{outcome:?}");
        let tried = outcome.queued + outcome.full + outcome.closed;
        assert_eq!(outcome.unsendable, 0, "{outcome:?}");
        let others = all.iter().filter(|conn| **conn != except);
        assert_eq!(tried, others.count(), "{outcome:?}");
    }
}
