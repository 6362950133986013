//! Peer-to-peer TCP networking without an async runtime.
#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings))))]

mod buffer;
mod config;
mod conn_map;
mod deadlines;
mod error;
mod framing;
mod handle;
mod handler;
mod id;
mod net;
mod network;
mod node;
mod peer;
mod queue;
mod stats;
mod table;
mod topology;
mod turn;

pub use bytes::Bytes;
pub use config::{Config, DialOptions, ListenOptions, Timeouts};
pub use conn_map::ConnMap;
pub use error::{ConfigError, ConnectError, DisconnectReason, FrameError, Phase, SendError};
pub use framing::{ByteOrder, Decoded, Framer, Framing, LengthPrefix};
pub use handle::Handle;
pub use handler::{Admission, Handler, SendOutcome};
pub use id::{ConnId, Side, TimerId};
pub use net::{Body, Broadcast, Net};
pub use node::{Node, Turn};
pub use peer::{Peer, PeerState};
pub use stats::{Metrics, Traffic};
pub use topology::{Topology, TopologyError};
