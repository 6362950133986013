//! Changing the settings of one connection.
//!
//! The settings and the encoder are in `Net` and are changed at once. The
//! decoder is in the inbound half, which a visit may hold. It waits in
//! `PendingChange`, and the loop applies it before the next message is decoded.

use std::sync::Arc;

use super::{Net, UrgentWork};
use crate::config::{ConnectionConfig, ConnectionSetting, OnPanic, Timeouts};
use crate::connection::{Lifecycle, PendingChange};
use crate::cross_shard::ConnCommand;
use crate::error::ConfigError;
use crate::framing::{Codec, Framing};
use crate::id::ConnId;
use crate::mutants::mutant;
use crate::panics::contain;

impl Net {
    /// Changes the maximum length of a message of one connection, in both
    /// directions; see
    /// [`max_message_len`](crate::config::ConnectionConfig::max_message_len).
    ///
    /// The maximum applies to the next message, even if it was already read. An
    /// incomplete message that is longer than the new maximum ends the
    /// connection with
    /// [`DisconnectReason::MessageTooLarge`](crate::DisconnectReason::MessageTooLarge).
    /// Queued messages are sent.
    ///
    /// For a connection that has ended and for a stale id this is a no-op. A
    /// connection of another [shard](crate::shards) is changed when that shard
    /// runs the command. An invalid value is then logged at debug level and
    /// ignored.
    ///
    /// # Errors
    ///
    /// After an error nothing has changed.
    ///
    /// - A [`ConfigError`] with the name of the field, as from
    ///   [`Config::validate`](crate::Config::validate), if the value is zero,
    ///   is more than half of
    ///   [`loop_receive_bytes`](crate::config::Limits::loop_receive_bytes) or
    ///   of `isize::MAX`, or is below the length of [`Framing::Fixed`] or of the
    ///   connection's [`Ping`](crate::config::Ping).
    ///
    /// # Examples
    ///
    /// Accepts long messages only after the peer has logged in:
    ///
    /// ```
    /// # use peerloop::{ConnId, Handler, Net};
    /// # struct Server;
    /// # fn is_valid_login(_: &[u8]) -> bool { true }
    /// impl Handler for Server {
    ///     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
    ///         net.set_max_message_len(conn, 256).expect("a valid length");
    ///     }
    ///
    ///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
    ///         if is_valid_login(message) {
    ///             net.set_max_message_len(conn, 1024 * 1024).expect("a valid length");
    ///         }
    ///     }
    /// }
    /// ```
    pub fn set_max_message_len(
        &mut self,
        conn: ConnId,
        max_message_len: usize,
    ) -> Result<(), ConfigError> {
        self.set(conn, ConnectionSetting::MaxMessageLen(max_message_len))
    }

    /// Changes the timeouts of one connection, in any state before its end.
    ///
    /// A timeout still counts from the event that started it, such as the last
    /// message for [`idle`](Timeouts::idle). The call does not start it again,
    /// so calling this method repeatedly does not keep a connection alive. If
    /// the new time has already passed, the connection ends in the next turn,
    /// unless input that has arrived restarts the timeout.
    ///
    /// For a connection that has ended and for a stale id this is a no-op. A
    /// connection of another [shard](crate::shards) is changed when that shard
    /// runs the command.
    ///
    /// # Errors
    ///
    /// After an error nothing has changed.
    ///
    /// - A [`ConfigError`] with the name of the field if a timeout is zero.
    ///
    /// # Examples
    ///
    /// Lets a peer that has subscribed be silent for an hour:
    ///
    /// ```
    /// use std::time::Duration;
    /// use peerloop::config::Timeouts;
    /// use peerloop::{ConnId, Handler, Net};
    ///
    /// # struct Server;
    /// impl Handler for Server {
    ///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
    ///         if message == b"subscribe" {
    ///             let timeouts = Timeouts {
    ///                 idle: Some(Duration::from_secs(60 * 60)),
    ///                 ..net.config().connection.timeouts
    ///             };
    ///             net.set_timeouts(conn, timeouts).expect("no timeout is zero");
    ///         }
    ///     }
    /// }
    /// ```
    pub fn set_timeouts(&mut self, conn: ConnId, timeouts: Timeouts) -> Result<(), ConfigError> {
        self.set(conn, ConnectionSetting::Timeouts(timeouts))
    }

    /// Changes the framing of one connection, in both directions: a protocol
    /// upgrade.
    ///
    /// - Messages that are sent after the call have the new framing. Messages
    ///   that are queued keep the old one.
    /// - The bytes after the last delivered message are decoded with the new
    ///   framing, even if they were already read. Inside
    ///   [`Handler::on_message`](crate::Handler::on_message) these are the
    ///   bytes after the current message.
    ///
    /// Both ends must change at the same place of the stream. Usually one end
    /// requests the change, and the other one answers and changes. After the
    /// request, the first end sends nothing until it receives the answer, and
    /// then changes too. With [`Framing::Raw`], a message may contain bytes
    /// that belong to the next framing, so a framing with boundaries is needed
    /// for the messages before the change.
    ///
    /// The functions of [`Framing::custom`] are called for two new framers, also
    /// if the connection has the same framing already. A panic of theirs that is
    /// contained ends this connection with
    /// [`DisconnectReason::HandlerPanicked`](crate::DisconnectReason::HandlerPanicked);
    /// see [`OnPanic`].
    ///
    /// For a connection that is closing or has ended and for a stale id this is
    /// a no-op. A connection of another [shard](crate::shards) is changed when
    /// that shard runs the command. An invalid framing is then logged at debug
    /// level and ignored.
    ///
    /// # Errors
    ///
    /// After an error nothing has changed.
    ///
    /// - A [`ConfigError`] with the name of the field if the length of
    ///   [`Framing::Fixed`] is zero or above the `max_message_len` of the
    ///   connection, or if the framing cannot represent the connection's
    ///   [`Ping`](crate::config::Ping).
    ///
    /// # Examples
    ///
    /// A server that reads lines until the peer requests binary frames:
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// use peerloop::framing::Framing;
    /// use peerloop::{Config, ConnId, Handler, Net, Node};
    ///
    /// #[derive(Default)]
    /// struct Server(Vec<String>);
    ///
    /// impl Handler for Server {
    ///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
    ///         self.0.push(String::from_utf8_lossy(message).into_owned());
    ///         if message == b"BINARY" {
    ///             let _ = net.send(conn, "OK"); // The last line.
    ///             net.set_framing(conn, Framing::default()).expect("a valid framing");
    ///             let _ = net.send(conn, "welcome");
    ///         }
    ///     }
    /// }
    ///
    /// fn main() -> std::io::Result<()> {
    ///     let mut config = Config::default();
    ///     config.connection.framing = Framing::Delimited(b'\n');
    ///     let mut node = Node::new(config, Server::default())?;
    ///     let addr = node.net().listen("127.0.0.1:0")?.addr;
    ///
    ///     let mut client = TcpStream::connect(addr)?;
    ///     client.write_all(b"BINARY\n\0\0\0\x05hello")?;
    ///     let _ = node.run_until(Duration::from_secs(10), |server, _| server.0.len() == 2)?;
    ///     assert_eq!(node.handler().0, ["BINARY", "hello"]);
    ///
    ///     let mut answer = [0; 14];
    ///     client.read_exact(&mut answer)?;
    ///     assert_eq!(&answer, b"OK\n\0\0\0\x07welcome");
    ///     Ok(())
    /// }
    /// ```
    pub fn set_framing(&mut self, conn: ConnId, framing: Framing) -> Result<(), ConfigError> {
        self.set(conn, ConnectionSetting::Framing(framing))
    }

    /// Changes a setting of one connection, or passes it to the shard of the
    /// connection.
    pub(super) fn set(
        &mut self,
        conn: ConnId,
        setting: ConnectionSetting,
    ) -> Result<(), ConfigError> {
        setting.validate()?;
        let Some(entry) = self.conns.get(conn) else {
            self.forward_command(conn, ConnCommand::Set(Box::new(setting)));
            return Ok(());
        };
        if !entry.is_live() {
            return Ok(());
        }
        let config = Arc::new(setting.applied_to(&entry.config));
        let config = self.validated(&config)?;
        match &setting {
            ConnectionSetting::Framing(framing) => self.replace_codecs(conn, framing, config),
            ConnectionSetting::MaxMessageLen(_) => {
                self.replace_config(conn, config);
                self.request_change(conn, PendingChange::default());
            }
            ConnectionSetting::Timeouts(_) => {
                self.replace_config(conn, config);
                // The connect timeout of a delayed connect has not begun.
                if !self.is_delayed(conn) {
                    self.arm_deadline(conn);
                }
            }
            ConnectionSetting::Rate(limits) => {
                self.replace_config(conn, config);
                self.apply_rate(conn, *limits);
            }
        }
        Ok(())
    }

    fn replace_config(&mut self, conn: ConnId, config: Arc<ConnectionConfig>) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.set_config(config);
        }
    }

    /// Changes the framing of a connection that is not closing.
    fn replace_codecs(&mut self, conn: ConnId, framing: &Framing, config: Arc<ConnectionConfig>) {
        let entry = self.conns.get(conn);
        if !entry.is_some_and(|entry| entry.is_unopened() || entry.lifecycle() == Lifecycle::Open) {
            return;
        }
        let stream = self.stream(conn);
        let make = || {
            if let Some(stream) = stream {
                stream.note_framing(framing);
            }
            (Codec::new(framing), Codec::new(framing))
        };
        let made = match self.config.on_panic {
            OnPanic::Unwind => Some(make()),
            // The panic is contained here and not with the callback, because
            // the caller may be a callback for another connection.
            OnPanic::Contain => contain(make),
        };
        let Some((decoder, encoder)) = made else {
            return self.end_after_panic("a framer's constructor", conn);
        };
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.codec = encoder;
        }
        self.replace_config(conn, config);
        let decoder = Some(decoder);
        self.request_change(conn, PendingChange { decoder });
    }

    /// Leaves a change of the inbound half to the loop, which applies it when
    /// the current callback returns.
    fn request_change(&mut self, conn: ConnId, change: PendingChange) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.add_pending_change(change);
            self.work.urgent.push(UrgentWork::Change(conn));
            mutant!(ChangeAfterBatch => return);
            self.interrupt();
        }
    }
}
