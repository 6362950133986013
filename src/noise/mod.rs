//! Sessions of the [Noise Protocol
//! Framework](https://noiseprotocol.org/noise.html), revision 34, on top of
//! [snow](https://docs.rs/snow). Requires the feature `noise`.
//!
//! Peers identify each other by static keys. There are no certificates,
//! authorities, names or expiry dates. [`Noise`] holds the settings of a
//! session, and [`Noise::build`] returns the session for
//! [`Handler::transport`](crate::Handler::transport):
//!
//! ```
//! use std::error::Error;
//!
//! use peerloop::noise::{Noise, Pattern, StaticKey};
//! use peerloop::{ConnId, ConnInfo, Handler, Net, Transport};
//!
//! struct Chat {
//!     key: StaticKey,
//! }
//!
//! impl Handler for Chat {
//!     fn transport(
//!         &mut self,
//!         _: &mut Net,
//!         _: ConnId,
//!         info: &ConnInfo,
//!     ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
//!         let noise = Noise::new(Pattern::XX, info.direction)
//!             .local_key(&self.key)
//!             .prologue(b"chat/1")
//!             .build()?;
//!         Ok(noise.into())
//!     }
//!
//!     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
//!         let identity = net.connection(conn).and_then(|c| c.identity());
//!         let key = identity.and_then(|identity| identity.public_key.as_deref());
//!         // The handler decides which keys are accepted.
//!         if key.is_none_or(|key| key == self.key.public()) {
//!             net.close(conn);
//!         }
//!     }
//!
//!     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
//! }
//! ```
//!
//! # The identity of the peer
//!
//! The [`Identity`](crate::session::Identity) of the connection has the peer's
//! static key in `public_key`, if the pattern has one, and the peer's payload
//! in `payload`. If there is neither, there is no identity. The length of the
//! payload is at most [`Noise::max_payload`] bytes (default: 1 KiB). A peer
//! that announces a longer payload is refused.
//!
//! # Proofs
//!
//! When [`Handler::on_connect`](crate::Handler::on_connect) is called, the
//! pattern has proved everything that it proves, with one exception:
//! the **responder** of a pattern with **two** messages (NN, NK, NX, KN, KK,
//! KX, IN, IK, IX, NK1, KK1, IK1).
//!
//! - It has received one message, which an attacker may have recorded and sent
//!   again.
//! - In KN, KX, IN, IX, KK1 and IK1 the initiator has claimed its key and not
//!   proved it.
//!
//! The first [`Handler::on_message`](crate::Handler::on_message) is the proof,
//! because only the owner of the key can have sent the message. Use the
//! identity there, or choose a pattern with three messages, such as XX.
//!
//! # The wire format
//!
//! The stream is a sequence of Noise messages, each with its length before it.
//! A frame of the connection's [`Framing`](crate::framing::Framing) may begin
//! and end anywhere in a Noise message.
//!
//! ```text
//!    0        2                            2 + n
//!   ┌────────┬────────────────────────────┬────────┬───────── ─ ─
//!   │ n      │ Noise message, n bytes     │ n'     │ Noise message ..
//!   └────────┴────────────────────────────┴────────┴───────── ─ ─
//!     big-endian, unsigned
//! ```
//!
//! **The handshake** consists of the two or three messages of the [`Pattern`].
//! The initiator sends the first one. [`Noise::protocol_name`] returns the name
//! of the handshake, for instance `Noise_XX_25519_ChaChaPoly_BLAKE2s`. The
//! payload of an end is the Noise payload of the last message that it sends;
//! the payloads of its earlier messages are empty. The length of each message
//! without its payload is therefore known beforehand, and another length is
//! refused as soon as it is read. In bytes, without payloads:
//!
//! | | 1, `->` | 2, `<-` | 3, `->` |
//! |---|---|---|---|
//! | NN | 32 | 48 | |
//! | IK | 96 | 48 | |
//! | XX | 32 | 96 | 64 |
//! | XXpsk3 | 48 | 96 | 64 |
//!
//! **After the handshake** each message seals 1 to 65,519 bytes of the framed
//! stream, and is 16 bytes longer than they are. The positions at which the
//! stream is cut have no meaning. The nonce is the number of the message in its
//! direction, from zero, as in the specification. A message that was changed,
//! dropped, repeated or reordered ends the connection.
//!
//! **The close notification** is a message without plaintext: the bytes `00 10`
//! and a tag of 16 bytes. Each end sends it last, before its FIN: after
//! [`Net::close`](crate::Net::close),
//! [`Net::close_write`](crate::Net::close_write) and a shutdown, but not after
//! [`Net::abort`](crate::Net::abort) or an error. Bytes after it are discarded.
//! A stream that ends without it is
//! [`SessionError::Truncated`](crate::error::SessionError::Truncated), unless
//! [`Noise::allow_missing_close_notify`] is set, for peers that use another
//! library.
//!
//! **Rekeying** is off by default. [`Noise::rekey`] turns it on. Each direction
//! changes its key at a point that both ends can count, without a message. See
//! [`Rekey`].
//!
//! # Failures
//!
//! Noise has no alerts: an end that refuses the other end closes the
//! connection. If the other end is still in its handshake, it reports
//! [`ConnectError::Io`](crate::ConnectError::Io) with `UnexpectedEof`. If it
//! sent the last message of the handshake itself (XXpsk3 with a wrong psk, for
//! instance), its connection is established and ends at once with
//! [`SessionError::Truncated`](crate::error::SessionError::Truncated).

mod builder;
mod copy_distance;
mod handshake;
mod key;
mod noise_session;
mod pattern;
mod resolver;
mod transport;

use std::num::NonZeroU64;

pub use builder::Noise;
pub use key::StaticKey;
pub use noise_session::NoiseSession;
pub use pattern::{Cipher, Hash, Pattern};

/// Maximum length of a handshake payload, in bytes: 65,535 less the longest
/// keys and tags.
pub const PAYLOAD_MAX: usize = 65_535 - 96;

/// Default of [`Noise::max_payload`], in bytes.
const MAX_PAYLOAD_DEFAULT: usize = 1024;

/// When a direction of a session changes its key.
///
/// The change is `REKEY` of the specification (section 4.2): the new key is the
/// first 32 bytes of 32 zeros sealed with the old key and the nonce 2⁶⁴ − 1.
/// The nonces continue.
///
/// Each direction counts its own messages after the handshake, including the
/// close notification. The message that completes the count is the last one
/// with the old key, and the count starts again at zero. Both ends must have
/// the same setting. Otherwise the first message after a change is refused as
/// not authentic.
///
/// A key that an attacker obtains later does not decrypt the messages before
/// the last change. A key that an attacker has now decrypts all later messages;
/// only a new connection ends that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Rekey {
    /// After this many messages. The number of bytes in a message depends on
    /// the batches of the sender.
    Messages(NonZeroU64),
    /// After the message with which at least this many bytes of plaintext have
    /// been sealed since the last change.
    Bytes(NonZeroU64),
}
