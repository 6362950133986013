//! The bytes of a hello. The documentation of the module has the table.

use super::Hello;
use crate::error::HelloRefusal;
use crate::session::{ConnectionOrder, PeerHello};

const FORMAT: u8 = 1;

/// Length of a hello without its blob.
const HEADER_LEN: usize = 65;

const ACCEPTED: u8 = 0;
const ACCEPTED_HAS_ANOTHER: u8 = 1;

/// The refusals that are sent, with their bytes.
const REFUSALS: [(u8, HelloRefusal); 5] = [
    (2, HelloRefusal::AnotherNetwork),
    (3, HelloRefusal::UnsupportedVersion),
    (4, HelloRefusal::BlobTooLong),
    (5, HelloRefusal::SelfConnection),
    (6, HelloRefusal::NodeIdInUse),
];

/// The answer to a hello. `Ok` contains whether this end has another connection
/// with the same node.
pub(super) type Answer = Result<bool, HelloRefusal>;

/// Appends a hello. Returns `None` if its blob is too long.
pub(super) fn encode(hello: &Hello, number: u64, wire: &mut Vec<u8>) -> Option<()> {
    let blob_len = u16::try_from(hello.blob.len()).ok()?;
    wire.extend_from_slice(&hello.magic);
    wire.push(FORMAT);
    wire.extend_from_slice(&hello.network.to_be_bytes());
    wire.extend_from_slice(&hello.version.to_be_bytes());
    wire.extend_from_slice(&hello.node_id);
    wire.extend_from_slice(&hello.nonce.to_be_bytes());
    wire.extend_from_slice(&number.to_be_bytes());
    wire.extend_from_slice(&blob_len.to_be_bytes());
    wire.extend_from_slice(&hello.blob);
    Some(())
}

/// Decodes and checks the hello of a peer. Returns it with its length, or
/// `None` if bytes are missing.
pub(super) fn decode(
    ours: &Hello,
    bytes: &[u8],
) -> Result<Option<(PeerHello, usize)>, HelloRefusal> {
    let is_ours = |(theirs, ours)| theirs == ours;
    if !bytes.iter().zip(&ours.magic).all(is_ours) {
        return Err(HelloRefusal::AnotherProtocol);
    }
    if bytes.get(4).is_some_and(|format| *format != FORMAT) {
        return Err(HelloRefusal::UnsupportedVersion);
    }
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let mut fields = Fields(&header[5..]);
    let network = u64::from_be_bytes(fields.take());
    let mut theirs = PeerHello {
        version: u16::from_be_bytes(fields.take()),
        node_id: fields.take(),
        nonce: u64::from_be_bytes(fields.take()),
        blob: Vec::new(),
        order: ConnectionOrder {
            number: u64::from_be_bytes(fields.take()),
            ..ConnectionOrder::default()
        },
    };
    let blob_len = usize::from(u16::from_be_bytes(fields.take()));
    check(ours, network, &theirs, blob_len)?;
    let Some(blob) = rest.get(..blob_len) else {
        return Ok(None);
    };
    theirs.blob = blob.to_vec();
    Ok(Some((theirs, HEADER_LEN + blob_len)))
}

fn check(
    ours: &Hello,
    network: u64,
    theirs: &PeerHello,
    blob_len: usize,
) -> Result<(), HelloRefusal> {
    if network != ours.network {
        Err(HelloRefusal::AnotherNetwork)
    } else if theirs.version < ours.min_version {
        Err(HelloRefusal::UnsupportedVersion)
    } else if theirs.node_id == ours.node_id {
        Err(if theirs.nonce == ours.nonce {
            HelloRefusal::SelfConnection
        } else {
            HelloRefusal::NodeIdInUse
        })
    } else if blob_len > ours.max_blob_len {
        Err(HelloRefusal::BlobTooLong)
    } else {
        Ok(())
    }
}

/// Appends an answer. A peer with another protocol gets none.
pub(super) fn encode_answer(answer: Answer, wire: &mut Vec<u8>) {
    let byte = match answer {
        Ok(false) => Some(ACCEPTED),
        Ok(true) => Some(ACCEPTED_HAS_ANOTHER),
        Err(refusal) => {
            let known = REFUSALS.iter().find(|(_, other)| *other == refusal);
            known.map(|(byte, _)| *byte)
        }
    };
    wire.extend(byte);
}

pub(super) fn decode_answer(byte: u8) -> Answer {
    match byte {
        ACCEPTED => Ok(false),
        ACCEPTED_HAS_ANOTHER => Ok(true),
        _ => {
            let known = REFUSALS.iter().find(|(other, _)| *other == byte);
            Err(known.map_or(HelloRefusal::Other, |(_, refusal)| *refusal))
        }
    }
}

/// The rest of a header.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// Takes a field. The fields together are as long as the header.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("a whole header");
        self.0 = rest;
        *field
    }
}
