//! The session that exchanges hellos.

use std::fmt;
use std::sync::Arc;

use super::Hello;
use super::registry::Registry;
use super::wire;
use crate::error::SessionError;
use crate::session::{Identity, Output, PeerHello, Session, Stage};

/// The session that exchanges hellos, from [`Peers::session`](super::Peers::session)
/// or [`Hello::session`].
pub struct HelloSession {
    ours: Arc<Hello>,
    /// The number of this connection, and the other connections of the node.
    numbered: Option<(u64, Arc<Registry>)>,
    theirs: Option<Box<PeerHello>>,
    is_complete: bool,
}

impl HelloSession {
    pub(super) fn new(ours: Arc<Hello>, numbered: Option<(u64, Arc<Registry>)>) -> Self {
        Self {
            ours,
            numbered,
            theirs: None,
            is_complete: false,
        }
    }

    fn number(&self) -> u64 {
        self.numbered.as_ref().map_or(0, |(number, _)| *number)
    }

    /// Takes the hello of the peer and answers it. Returns its length, or
    /// `None` if bytes are missing.
    fn take_hello(
        &mut self,
        bytes: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<Option<usize>, SessionError> {
        let decoded = wire::decode(&self.ours, bytes);
        let decoded = decoded.map_err(|refusal| {
            wire::encode_answer(Err(refusal), wire);
            SessionError::Hello(refusal)
        });
        let Some((mut theirs, len)) = decoded? else {
            return Ok(None);
        };
        let registry = self.numbered.as_ref().map(|(_, registry)| registry);
        let has_another = registry.is_some_and(|registry| registry.has_connection(&theirs));
        wire::encode_answer(Ok(has_another), wire);
        theirs.order.own_number = self.number();
        theirs.order.own_has_another = has_another;
        self.theirs = Some(Box::new(theirs));
        Ok(Some(len))
    }
}

impl Session for HelloSession {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        wire::encode(&self.ours, self.number(), wire)
            .ok_or(SessionError::Failed("the blob is longer than 65,535 bytes"))
    }

    fn receive(&mut self, bytes: &mut [u8], out: &mut Output<'_>) -> Result<usize, SessionError> {
        let mut taken = 0;
        if self.theirs.is_none() {
            let Some(len) = self.take_hello(bytes, out.wire)? else {
                return Ok(0); // They come again, with more after them.
            };
            taken = len;
        }
        if let (Some(answer), Some(theirs)) = (bytes.get(taken), &mut self.theirs) {
            let has_another =
                wire::decode_answer(*answer).map_err(SessionError::HelloRefusedByPeer)?;
            theirs.order.has_another = has_another;
            self.is_complete = true;
            taken += 1;
        }
        Ok(taken)
    }

    fn stage(&self) -> Stage {
        if self.is_complete {
            Stage::Transparent
        } else {
            Stage::Handshaking
        }
    }

    fn identity(&self) -> Option<Identity> {
        let hello = Some(self.theirs.clone()?);
        Some(Identity {
            hello,
            ..Identity::default()
        })
    }

    fn take_identity(&mut self) -> Option<Identity> {
        let hello = Some(self.theirs.take()?);
        Some(Identity {
            hello,
            ..Identity::default()
        })
    }

    fn held_bytes(&self) -> usize {
        self.theirs.as_ref().map_or(0, |theirs| theirs.held_bytes())
    }
}

impl fmt::Debug for HelloSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HelloSession")
            .field("is_complete", &self.is_complete)
            .finish_non_exhaustive()
    }
}
