//! Sessions: handshakes and ciphers between the wire and the framing of one
//! connection.
//!
//! [`Session`] has the contract, and a handshake of one message as an example.
//!
//! # A handshake that waits
//!
//! The peer sends an account number, which a database on another thread checks.
//! The handler stores the result where the session finds it, and wakes the
//! session.
//!
//! ```
//! use std::sync::{Arc, OnceLock};
//! use std::time::Duration;
//!
//! use peerloop::error::SessionError;
//! use peerloop::session::{Output, Session, Stage};
//! use peerloop::{ConnId, Handle, Handler};
//!
//! /// Looks an account up on another thread.
//! fn look_up<H: Handler + 'static>(
//!     handle: Handle<H>,
//!     conn: ConnId,
//!     account: u32,
//!     is_known: Arc<OnceLock<bool>>,
//! ) {
//!     std::thread::spawn(move || {
//!         let _ = is_known.set(account < 1000); // The query of the database.
//!         let _ = handle.post(move |_, net| net.wake_session(conn));
//!     });
//! }
//!
//! struct Login {
//!     account: Option<u32>,
//!     look_up: Box<dyn Fn(u32) + Send>,
//!     is_known: Arc<OnceLock<bool>>,
//! }
//!
//! impl Session for Login {
//!     fn receive(&mut self, wire: &mut [u8], _: &mut Output<'_>) -> Result<usize, SessionError> {
//!         let (None, Some(account)) = (self.account, wire.first_chunk()) else {
//!             return Ok(0); // The bytes after the number wait in the loop.
//!         };
//!         let account = *self.account.insert(u32::from_be_bytes(*account));
//!         (self.look_up)(account);
//!         Ok(4)
//!     }
//!
//!     fn on_wake(&mut self, _: &mut Output<'_>) -> Result<(), SessionError> {
//!         match self.is_known.get() {
//!             Some(false) => Err(SessionError::Refused("an unknown account")),
//!             Some(true) | None => Ok(()),
//!         }
//!     }
//!
//!     fn timeout(&self) -> Option<Duration> {
//!         self.account.map(|_| Duration::from_secs(3))
//!     }
//!
//!     fn on_timeout(&mut self, _: &mut Output<'_>) -> Result<(), SessionError> {
//!         Err(SessionError::Failed("the database does not answer"))
//!     }
//!
//!     fn stage(&self) -> Stage {
//!         match self.is_known.get() {
//!             Some(true) => Stage::Transparent,
//!             Some(false) | None => Stage::Handshaking,
//!         }
//!     }
//! }
//! ```
//!
//! # A record layer
//!
//! The stream is cut into records. Each record has a length, a checksum over
//! its body and its number, and a body. An empty record is the close
//! notification. A keyed hash in place of the checksum, with a key that only
//! the two ends have, would detect forged records.
//! [`Sequence`] can run a handshake before it.
//!
//! ```
//! use std::io::IoSlice;
//!
//! use peerloop::error::SessionError;
//! use peerloop::session::{Output, Session, Stage};
//!
//! const HEADER_LEN: usize = 6;
//! const BODY_MAX: usize = 16 * 1024;
//!
//! /// Returns the length and the checksum of a record, both big-endian.
//! fn header(number: u32, body: &[u8]) -> [u8; HEADER_LEN] {
//!     let sum = body.iter().fold(number, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
//!     let [a, b, c, d] = sum.to_be_bytes();
//!     let [high, low] = (body.len() as u16).to_be_bytes();
//!     [high, low, a, b, c, d]
//! }
//!
//! #[derive(Default)]
//! struct Records {
//!     sent: u32,
//!     received: u32,
//!     finished: bool,
//! }
//!
//! impl Records {
//!     fn write(&mut self, body: &[u8], wire: &mut Vec<u8>) {
//!         wire.extend_from_slice(&header(self.sent, body));
//!         wire.extend_from_slice(body);
//!         self.sent = self.sent.wrapping_add(1);
//!     }
//! }
//!
//! impl Session for Records {
//!     fn receive(
//!         &mut self,
//!         wire: &mut [u8],
//!         out: &mut Output<'_>,
//!     ) -> Result<usize, SessionError> {
//!         let mut rest = &wire[..];
//!         while let Some((head, bytes)) = rest.split_first_chunk::<HEADER_LEN>() {
//!             let len = usize::from(u16::from_be_bytes([head[0], head[1]]));
//!             if len > BODY_MAX {
//!                 return Err(SessionError::Malformed("a record that is too long"));
//!             }
//!             let Some((body, after)) = bytes.split_at_checked(len) else {
//!                 break; // An incomplete record is not taken.
//!             };
//!             if *head != header(self.received, body) {
//!                 return Err(SessionError::Malformed("a wrong checksum"));
//!             }
//!             self.received = self.received.wrapping_add(1);
//!             out.plaintext.extend_from_slice(body);
//!             rest = after;
//!             if len == 0 {
//!                 self.finished = true;
//!                 break;
//!             }
//!         }
//!         Ok(wire.len() - rest.len())
//!     }
//!
//!     fn stage(&self) -> Stage {
//!         if self.finished { Stage::Finished } else { Stage::Established }
//!     }
//!
//!     fn seal(
//!         &mut self,
//!         plaintext: &[IoSlice<'_>],
//!         wire: &mut Vec<u8>,
//!     ) -> Result<(), SessionError> {
//!         // A record may end anywhere in a message, because framing comes after.
//!         for body in plaintext.iter().flat_map(|slice| slice.chunks(BODY_MAX)) {
//!             self.write(body, wire);
//!         }
//!         Ok(())
//!     }
//!
//!     fn close_notify(&mut self, wire: &mut Vec<u8>) {
//!         self.write(b"", wire);
//!     }
//!
//!     fn wire_ended(&mut self) -> Result<(), SessionError> {
//!         if self.finished { Ok(()) } else { Err(SessionError::Truncated) }
//!     }
//! }
//!
//! // A session can be tested without a network.
//! let (mut here, mut there) = (Records::default(), Records::default());
//! let (mut wire, mut plaintext, mut answer) = (Vec::new(), Vec::new(), Vec::new());
//! here.seal(&[IoSlice::new(b"good "), IoSlice::new(b"day")], &mut wire)?;
//! here.close_notify(&mut wire);
//! let taken = there.receive(&mut wire, &mut Output::new(&mut plaintext, &mut answer))?;
//! assert_eq!((plaintext.as_slice(), there.stage()), (&b"good day"[..], Stage::Finished));
//! # assert_eq!(taken, wire.len());
//! # Ok::<_, SessionError>(())
//! ```

mod boxed;
mod channel;
mod identity;
mod peer_hello;
mod role;
mod sequence;
mod traits;
mod transport;

pub use identity::Identity;
pub use peer_hello::PeerHello;
pub use role::Role;
pub use sequence::Sequence;
pub use traits::{Output, Session, Stage};
pub use transport::Transport;

pub(crate) use peer_hello::ConnectionOrder;

#[cfg(feature = "sim")]
pub(crate) use channel::REPLIES_MAX;
pub(crate) use channel::{SessionChannel, output_max};
