//! Sessions for tests: a greeting without encryption, and a toy cipher.

mod xor;

use peerloop::config::Timeouts;
use peerloop::error::SessionError;
use peerloop::session::{Identity, Output, Session, Stage};
use peerloop::{Config, ConnId, Direction, Net};

use super::Recorder;
pub use super::frame;
pub use xor::{HELLO_LEN, Kind, SealFault, Xor};

/// A recorder whose every connection gets a session of this kind.
pub fn with_sessions<S: Session + 'static>(
    mut recorder: Recorder,
    mut make: impl FnMut(Direction) -> S + Send + 'static,
) -> Recorder {
    recorder.sessions = Box::new(move |net: &mut Net, conn: ConnId| {
        let connection = net.connection(conn).expect("the connection in question");
        Ok(Some(Box::new(make(connection.info().direction))))
    });
    recorder
}

/// The first bytes that both ends of a [`Greeting`] send.
pub const MAGIC: [u8; 4] = *b"game";

/// The answer of an end that refuses.
pub const ALERT: [u8; 4] = *b"away";

/// The behaviour of a [`Greeting`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Agrees,
    /// Refuses every peer, and sends an alert.
    Rejects,
    /// Takes and sends nothing.
    Silent,
    PanicsInStart,
    PanicsInReceive,
    PanicsInIdentity,
}

/// A magic number both ways, and then plain TCP.
pub struct Greeting {
    manner: Manner,
    stage: Stage,
}

impl Greeting {
    pub fn new(manner: Manner) -> Self {
        Self {
            manner,
            stage: Stage::Handshaking,
        }
    }

    fn panic_if(&self, manner: Manner) {
        assert_ne!(self.manner, manner, "required by the test");
    }
}

impl Session for Greeting {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        self.panic_if(Manner::PanicsInStart);
        if !matches!(self.manner, Manner::Silent | Manner::Rejects) {
            wire.extend(MAGIC);
        }
        Ok(())
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        output: &mut Output<'_>,
    ) -> Result<usize, SessionError> {
        self.panic_if(Manner::PanicsInReceive);
        if self.manner == Manner::Silent {
            return Ok(0);
        }
        match bytes.first_chunk() {
            None => Ok(0),
            Some(&ALERT) => Err(SessionError::RefusedByPeer("greeting")),
            Some(&MAGIC) if self.manner != Manner::Rejects => {
                self.stage = Stage::Transparent;
                Ok(MAGIC.len())
            }
            Some(_) => {
                output.wire.extend(ALERT);
                Err(SessionError::Refused("greeting"))
            }
        }
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn identity(&self) -> Option<Identity> {
        self.panic_if(Manner::PanicsInIdentity);
        let mut identity = Identity::default();
        identity.protocol = Some(MAGIC.to_vec());
        Some(identity)
    }
}

/// A configuration without timeouts.
pub fn untimed() -> Config {
    let mut config = Config::default();
    config.connection.timeouts = Timeouts {
        connect: None,
        handshake: None,
        idle: None,
        receive_idle: None,
        partial_message: None,
        write_stall: None,
        linger: None,
    };
    config
}

pub fn greeting(recorder: Recorder) -> Recorder {
    with_sessions(recorder, |_| Greeting::new(Manner::Agrees))
}

pub fn sealed(recorder: Recorder) -> Recorder {
    with_sessions(recorder, Xor::new)
}
