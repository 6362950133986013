//! Handshakes of Noise_XX_25519_ChaChaPoly_BLAKE2s without a network: of two
//! sessions, and of snow alone.

use std::error::Error;
use std::hint::black_box;

use peerloop::noise::{Noise, NoiseSession, Pattern, StaticKey};
use peerloop::session::{Output, Role, Session, Stage};
use snow::{Builder, HandshakeState};

pub(crate) fn session_handshakes(units: u64) -> Result<(), Box<dyn Error>> {
    let key = StaticKey::generate()?;
    let end = |role| Noise::new(Pattern::XX, role).local_key(&key).build();
    for _ in 0..units {
        let (mut initiator, mut responder) = (end(Role::Initiator)?, end(Role::Responder)?);
        let mut wire = Vec::new();
        initiator.start(&mut wire)?;
        let mut wire = answer(&mut responder, wire)?;
        while responder.stage() == Stage::Handshaking {
            wire = answer(&mut initiator, wire)?;
            wire = answer(&mut responder, wire)?;
        }
        black_box((initiator.take_identity(), responder.take_identity()));
    }
    Ok(())
}

/// Returns the answer of an end to the bytes of the other one.
fn answer(end: &mut NoiseSession, mut wire: Vec<u8>) -> Result<Vec<u8>, Box<dyn Error>> {
    let (mut plaintext, mut answer) = (Vec::new(), Vec::new());
    end.receive(&mut wire, &mut Output::new(&mut plaintext, &mut answer))?;
    Ok(answer)
}

pub(crate) fn snow_handshakes(units: u64) -> Result<(), Box<dyn Error>> {
    let key = StaticKey::generate()?;
    let builder = || -> Result<Builder<'_>, Box<dyn Error>> {
        let builder = Builder::new("Noise_XX_25519_ChaChaPoly_BLAKE2s".parse()?);
        Ok(builder.local_private_key(key.secret())?)
    };
    for _ in 0..units {
        let mut initiator = builder()?.build_initiator()?;
        let mut responder = builder()?.build_responder()?;
        pass(&mut initiator, &mut responder)?;
        pass(&mut responder, &mut initiator)?;
        pass(&mut initiator, &mut responder)?;
        black_box((
            initiator.into_transport_mode()?,
            responder.into_transport_mode()?,
        ));
    }
    Ok(())
}

/// Passes one message.
fn pass(from: &mut HandshakeState, to: &mut HandshakeState) -> Result<(), snow::Error> {
    let (mut wire, mut payload) = ([0; 256], [0; 256]);
    let len = from.write_message(&[], &mut wire)?;
    to.read_message(&wire[..len], &mut payload).map(drop)
}
