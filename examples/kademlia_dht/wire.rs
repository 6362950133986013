//! The datagrams: a random token, which the answer repeats, the id of the sender
//! and a message, in JSON, so that they can be read in a capture.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Length of a request, and maximum length of an answer. Datagrams of this length
/// pass nearly every network (RFC 9000, 14).
pub(crate) const DATAGRAM_LEN: usize = 1200;

/// Maximum length of a value in bytes. It fits, however it is escaped.
pub(crate) const VALUE_MAX: usize = 160;

/// A node or a key. The distance of two ids is their XOR, read as a number.
pub(crate) type Id = u128;

pub(crate) type Contact = (Id, SocketAddr);

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Message {
    FindNode(Id),
    FindValue(Id),
    Store(Id, String),
    Nodes(Vec<Contact>),
    Value(String),
    Stored,
}

impl Message {
    pub(crate) fn is_request(&self) -> bool {
        !matches!(self, Self::Nodes(_) | Self::Value(_) | Self::Stored)
    }

    /// Whether this message is an answer to a request.
    pub(crate) fn answers(&self, request: &Self) -> bool {
        match request {
            Self::Store(..) => matches!(self, Self::Stored),
            Self::FindValue(_) => matches!(self, Self::Nodes(_) | Self::Value(_)),
            _ => matches!(self, Self::Nodes(_)),
        }
    }
}

/// Spaces make each request as long as the longest answer. Otherwise answers would
/// amplify attacks on forged source addresses.
pub(crate) fn encode(token: u64, sender: Id, message: &Message) -> Vec<u8> {
    let mut json = serde_json::to_vec(&(token, sender, message)).unwrap_or_default();
    if message.is_request() {
        json.resize(DATAGRAM_LEN, b' ');
    }
    json
}

pub(crate) fn decode(json: &[u8]) -> Option<(u64, Id, Message)> {
    let datagram: (u64, Id, Message) = serde_json::from_slice(json).ok()?;
    let is_valid = match &datagram.2 {
        Message::Store(_, value) | Message::Value(value) if value.len() > VALUE_MAX => false,
        message => json.len() == DATAGRAM_LEN || !message.is_request(),
    };
    is_valid.then_some(datagram)
}
