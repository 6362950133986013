//! Secure sessions after the [Noise Protocol Framework](https://noiseprotocol.org/noise.html), revision 34, by
//! means of [snow](https://docs.rs/snow); feature `noise`.
//!
//! Peers know each other by static keys, not by certificates: no authority, no names, no expiry. A [`Noise`] says what the
//! session of a connection is to be like, and builds it where [`Handler::session`](crate::Handler::session) asks for one:
//!
//! ```
//! use std::io;
//!
//! use peerloop::noise::{Noise, Pattern, StaticKey};
//! use peerloop::session::Session;
//! use peerloop::{ConnId, Handler, Net, Direction, Peer};
//!
//! struct Chat {
//!     key: StaticKey,
//! }
//!
//! impl Handler for Chat {
//!     fn session(&mut self, net: &mut Net, conn: ConnId) -> io::Result<Option<Box<dyn Session>>> {
//!         let side = net.connection(conn).map_or(Direction::Inbound, Peer::direction);
//!         let noise = Noise::new(Pattern::XX, side)
//!             .local_key(&self.key)
//!             .prologue(b"chat/1")
//!             .build()?;
//!         Ok(Some(Box::new(noise)))
//!     }
//!
//!     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
//!         let identity = net.connection(conn).and_then(ConnEntry::identity);
//!         let key = identity.and_then(|identity| identity.public_key.as_deref());
//!         if key.is_none_or(|key| key == self.key.public()) {
//!             net.close(conn); // Whether a key is welcome is the handler's to say.
//!         }
//!     }
//!
//!     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
//! }
//! ```
//!
//! [`ConnEntry::identity`](crate::Peer::identity) has the peer's static key in `public_key`, where the pattern has one, and what
//! it said beside in `payload`; where there is neither, there is no identity.
//!
//! # How much is proved when
//!
//! In [`Handler::on_connect`](crate::Handler::on_connect) everything is proved that the pattern proves, with one
//! exception. Who **accepts** with a pattern of **two** messages (NN, NK, NX, KN, KK, KX, IN, IK, IX, NK1, KK1, IK1) has
//! heard one message, which may be an old one that somebody else sends again, and in KN, KX, IN, IX, KK1 and IK1 a key
//! that is only claimed. The first
//! [`Handler::on_message`](crate::Handler::on_message) is proof: nobody but the owner of the key can have sent it. Act on
//! the identity there, or take a pattern of three messages, such as XX.
//!
//! # On the wire
//!
//! Everything is a row of Noise messages, each behind its length; a frame of the connection's
//! [`Framing`](crate::Framing) is in no way tied to one.
//!
//! ```text
//!    0        2                            2 + n
//!   ┌────────┬────────────────────────────┬────────┬───────── ─ ─
//!   │ n      │ Noise message, n bytes     │ n'     │ Noise message ..
//!   └────────┴────────────────────────────┴────────┴───────── ─ ─
//!     big-endian, unsigned
//! ```
//!
//! **The handshake** is the two or three messages of the [`Pattern`], the first one from the side that dialled. Its name is
//! [`Noise::protocol_name`], for instance `Noise_XX_25519_ChaChaPoly_BLAKE2s`. The payload of a side is the Noise payload of the
//! last message that it sends; those of its earlier messages are empty. So the length of every message is known
//! beforehand, but for the payload, and another length is refused as soon as it is read. In bytes, without payloads:
//!
//! | | 1, `->` | 2, `<-` | 3, `->` |
//! |---|---|---|---|
//! | NN | 32 | 48 | |
//! | IK | 96 | 48 | |
//! | XX | 32 | 96 | 64 |
//! | XXpsk3 | 48 | 96 | 64 |
//!
//! **After the handshake** each message seals 1 to 65,519 bytes of the stream that the framing makes, and is 16 bytes longer
//! than that. Where it is cut means nothing. The nonce is the number of the message in its direction, from zero, as the
//! specification has it; a message that was changed, dropped, repeated or moved ends the connection.
//!
//! **The goodbye** is a message that seals nothing, so the bytes `00 10` and a tag of 16 bytes. Each side sends it last, before its
//! FIN: after [`Net::close`](crate::Net::close), [`Net::shutdown_write`](crate::Net::shutdown_write) and a shutdown, but not after
//! [`Net::abort`](crate::Net::abort) or an error. It means that nothing more comes from there; what comes nevertheless is
//! not looked at. A stream that ends without it is [`SessionError::Truncated`](crate::SessionError::Truncated), whoever
//! has cut it off.
//!
//! **Rekeying**, where [`Noise::rekey`] asks for it, happens in each direction for itself, at a point that both sides can
//! count, without a message. See [`Rekey`].
//!
//! # What comes of errors
//!
//! Noise has no alerts. A peer that refuses ends the connection, and the other side learns no more than that: while it is
//! in its own handshake as [`ConnectError::Io`](crate::ConnectError::Io) of `UnexpectedEof`, and, where the last message of the
//! handshake was its own (XXpsk3 with a wrong psk, for instance), as a connection that ends at once with
//! [`SessionError::Truncated`](crate::SessionError::Truncated).

mod builder;
mod handshake;
mod key;
mod noise_session;
mod pattern;
mod transport;

use std::num::NonZeroU64;

pub use builder::Noise;
pub use key::StaticKey;
pub use noise_session::NoiseSession;
pub use pattern::{Cipher, Hash, Pattern};

/// The longest payload of a handshake message, in bytes: what the longest keys and tags leave of 65,535.
pub const PAYLOAD_MAX: usize = 65_535 - 96;

/// When a direction of a session changes its key, by `REKEY` of the specification (section 4.2): the new key is the first
/// 32 bytes of 32 zeros sealed with the old key and the nonce 2⁶⁴ − 1. Nonces go on counting.
///
/// Each direction counts its messages after the handshake, the goodbye among them. The message that completes the count
/// is the last one with the old key, and the count begins again at zero. Both sides must have the same setting: with
/// another, the first message after the first change is not authentic.
///
/// A key that is learned later does not open what was sent before the last change. One that is learned now opens all that
/// comes: for that there are new connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rekey {
    /// After so many messages. How many there are to a byte is up to the sender's batches.
    Messages(NonZeroU64),
    /// After the message with which so many bytes of plaintext, or more, were sealed since the last change.
    Bytes(NonZeroU64),
}
