//! The handshake patterns: their messages, and the lengths of the messages.

use crate::session::Role;

/// The length of a Curve25519 key, public or secret, in bytes.
pub(super) const KEY_LEN: usize = 32;

/// The length of the tag that the cipher adds, in bytes.
pub(super) const TAG_LEN: usize = 16;

/// The messages of a handshake: the keys that each end sends, and the proofs.
///
/// Default: [`Pattern::XX`].
///
/// The first letter of a name is for the initiator, the second letter for the
/// responder:
///
/// - `N`: the end has no static key.
/// - `K`: the other end has its static key beforehand.
/// - `X`: the end sends its static key, encrypted where that is possible.
/// - `I`: the end sends its static key in its first message.
///
/// A `1` after a letter defers a proof by one message. The patterns are the
/// interactive patterns of the Noise specification, revision 34, with two or
/// three messages. The one-way patterns of the specification are not supported,
/// because they have no answers.
///
/// In the notation of the specification `->` is a message of the initiator,
/// `<-` a message of the responder, `e` a key made for this connection, `s` a
/// static key. Two letters are a Diffie-Hellman agreement; the first letter is
/// the key of the initiator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Pattern {
    /// `-> e`, `<- e, ee`. Neither end is authenticated: secure against a
    /// passive observer only.
    NN,
    /// `-> e, es`, `<- e, ee`. The initiator has the key of the responder.
    NK,
    /// `-> e`, `<- e, ee, s, es`. Only the responder proves a key, as in TLS
    /// without client certificates.
    NX,
    /// `-> e`, `<- e, ee`, `-> s, se`.
    XN,
    /// `-> e, es`, `<- e, ee`, `-> s, se`.
    XK,
    /// `-> e`, `<- e, ee, s, es`, `-> s, se`. Both ends prove their keys, and
    /// the keys are hidden from a passive observer.
    #[default]
    XX,
    /// `-> e`, `<- e, ee, se`.
    KN,
    /// `-> e, es, ss`, `<- e, ee, se`. Each end has the other end's key.
    KK,
    /// `-> e`, `<- e, ee, se, s, es`.
    KX,
    /// `-> e, s`, `<- e, ee, se`.
    IN,
    /// `-> e, es, s, ss`, `<- e, ee, se`. One round trip to a responder whose
    /// key the initiator has.
    IK,
    /// `-> e, s`, `<- e, ee, se, s, es`.
    IX,
    /// `-> e`, `<- e, ee, es`.
    NK1,
    /// `-> e`, `<- e, ee, s`, `-> es`.
    NX1,
    /// `-> e`, `<- e, ee, es`, `-> s, se`.
    XK1,
    /// `-> e`, `<- e, ee, s`, `-> es, s, se`.
    XX1,
    /// `-> e`, `<- e, ee`, `-> se`.
    K1N,
    /// `-> e, es`, `<- e, ee`, `-> se`.
    K1K,
    /// `-> e`, `<- e, ee, se, es`.
    KK1,
    /// `-> e`, `<- e, ee, es`, `-> se`.
    K1K1,
    /// `-> e`, `<- e, ee, s, es`, `-> se`.
    K1X,
    /// `-> e`, `<- e, ee, se, s`, `-> es`.
    KX1,
    /// `-> e`, `<- e, ee, s`, `-> se, es`.
    K1X1,
    /// `-> e, s`, `<- e, ee`, `-> se`.
    I1N,
    /// `-> e, es, s`, `<- e, ee`, `-> se`.
    I1K,
    /// `-> e, s`, `<- e, ee, se, es`.
    IK1,
    /// `-> e, s`, `<- e, ee, es`, `-> se`.
    I1K1,
    /// `-> e, s`, `<- e, ee, s, es`, `-> se`.
    I1X,
    /// `-> e, s`, `<- e, ee, se, s`, `-> es`.
    IX1,
    /// `-> e, s`, `<- e, ee, s`, `-> se, es`.
    I1X1,
}

/// Treatment of the static key of one end by a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Static {
    /// The end has no static key.
    None,
    /// The other end has it beforehand.
    Known,
    /// The end sends it in the handshake.
    Sent,
}

impl Pattern {
    /// Returns the name in the specification, and the tokens of each message.
    fn row(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::NN => ("NN", &["e", "e ee"]),
            Self::NK => ("NK", &["e es", "e ee"]),
            Self::NX => ("NX", &["e", "e ee s es"]),
            Self::XN => ("XN", &["e", "e ee", "s se"]),
            Self::XK => ("XK", &["e es", "e ee", "s se"]),
            Self::XX => ("XX", &["e", "e ee s es", "s se"]),
            Self::KN => ("KN", &["e", "e ee se"]),
            Self::KK => ("KK", &["e es ss", "e ee se"]),
            Self::KX => ("KX", &["e", "e ee se s es"]),
            Self::IN => ("IN", &["e s", "e ee se"]),
            Self::IK => ("IK", &["e es s ss", "e ee se"]),
            Self::IX => ("IX", &["e s", "e ee se s es"]),
            Self::NK1 => ("NK1", &["e", "e ee es"]),
            Self::NX1 => ("NX1", &["e", "e ee s", "es"]),
            Self::XK1 => ("XK1", &["e", "e ee es", "s se"]),
            Self::XX1 => ("XX1", &["e", "e ee s", "es s se"]),
            Self::K1N => ("K1N", &["e", "e ee", "se"]),
            Self::K1K => ("K1K", &["e es", "e ee", "se"]),
            Self::KK1 => ("KK1", &["e", "e ee se es"]),
            Self::K1K1 => ("K1K1", &["e", "e ee es", "se"]),
            Self::K1X => ("K1X", &["e", "e ee s es", "se"]),
            Self::KX1 => ("KX1", &["e", "e ee se s", "es"]),
            Self::K1X1 => ("K1X1", &["e", "e ee s", "se es"]),
            Self::I1N => ("I1N", &["e s", "e ee", "se"]),
            Self::I1K => ("I1K", &["e es s", "e ee", "se"]),
            Self::IK1 => ("IK1", &["e s", "e ee se es"]),
            Self::I1K1 => ("I1K1", &["e s", "e ee es", "se"]),
            Self::I1X => ("I1X", &["e s", "e ee s es", "se"]),
            Self::IX1 => ("IX1", &["e s", "e ee se s", "es"]),
            Self::I1X1 => ("I1X1", &["e s", "e ee s", "se es"]),
        }
    }

    /// Returns the name in the specification.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Returns the number of messages, two or three. The initiator sends the
    /// first message.
    pub(super) fn message_count(self) -> usize {
        self.row().1.len()
    }

    /// Returns the number of the last message of an end, from zero. This
    /// message carries the payload.
    pub(super) fn last_message(self, role: Role) -> usize {
        match (role, self.message_count()) {
            (Role::Responder, _) => 1,
            (Role::Initiator, 2) => 0,
            (Role::Initiator, _) => 2,
        }
    }

    /// Returns how the pattern treats the static key of an end.
    pub(super) fn static_key(self, role: Role) -> Static {
        let mut letters = self.name().chars().filter(|letter| *letter != '1');
        let letter = match role {
            Role::Initiator => letters.next(),
            Role::Responder => letters.nth(1),
        };
        match letter {
            Some('K') => Static::Known,
            Some('X' | 'I') => Static::Sent,
            _ => Static::None,
        }
    }

    /// Returns the length of a message without its payload, in bytes. Static
    /// keys and payloads are sealed, each with a tag, from the first agreement
    /// on. With a psk they are sealed from the first key on.
    pub(super) fn message_len(self, number: usize, has_psk: bool) -> usize {
        let mut sealed = false;
        let mut len = 0;
        for message in self.row().1.iter().take(number + 1) {
            len = 0;
            for token in message.split(' ') {
                match token {
                    "e" => {
                        len += KEY_LEN;
                        sealed |= has_psk;
                    }
                    "s" => len += KEY_LEN + if sealed { TAG_LEN } else { 0 },
                    _ => sealed = true,
                }
            }
            len += if sealed { TAG_LEN } else { 0 };
        }
        len
    }
}

/// The cipher of everything after the first key agreement.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Cipher {
    /// ChaCha20-Poly1305. The default, because it is fast on each processor,
    /// and because its running time does not depend on keys.
    #[default]
    ChaChaPoly,
    /// AES-256 in Galois/Counter Mode. Faster where the processor has
    /// instructions for it.
    AesGcm,
}

impl Cipher {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ChaChaPoly => "ChaChaPoly",
            Self::AesGcm => "AESGCM",
        }
    }
}

/// The hash of the handshake. It has no effect on the speed after the
/// handshake.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Hash {
    /// BLAKE2s, as in WireGuard. The default, because it is fast without
    /// special instructions, also on small processors.
    #[default]
    Blake2s,
    /// BLAKE2b.
    Blake2b,
    /// SHA-256, as in libp2p.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Hash {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Blake2s => "BLAKE2s",
            Self::Blake2b => "BLAKE2b",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_keys_of_both_ends() {
        for (pattern, initiator, responder) in [
            (Pattern::NN, Static::None, Static::None),
            (Pattern::XX, Static::Sent, Static::Sent),
            (Pattern::IK, Static::Sent, Static::Known),
            (Pattern::K1X1, Static::Known, Static::Sent),
            (Pattern::NK1, Static::None, Static::Known),
        ] {
            assert_eq!(pattern.static_key(Role::Initiator), initiator);
            assert_eq!(pattern.static_key(Role::Responder), responder);
        }
    }
}
