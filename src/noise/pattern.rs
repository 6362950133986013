//! Which messages a handshake consists of, and how long they are.

use crate::session::Role;

/// Length of a key of Curve25519, public or secret, in bytes.
pub(super) const KEY_LEN: usize = 32;

/// What the cipher adds to whatever it seals, in bytes.
pub(super) const TAG_LEN: usize = 16;

/// The messages of a handshake: who sends which keys, and what is proved with them.
///
/// The first letter is about who dials, the second about who accepts: `N`, it has no static key; `K`, the other side knows
/// its static key beforehand; `X`, it sends its static key, encrypted where that is possible; `I`, it sends it at once, in
/// its first message. A `1` puts off a proof by one message. These are the interactive patterns of the Noise
/// specification, revision 34, with two or three messages; the one-way ones have no answers and make no connection.
///
/// In the notation of the specification, `->` is who dialled speaking, `e` a key made for this connection, `s` a static
/// key; two letters are a Diffie-Hellman agreement, the first letter being the dialler's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Pattern {
    /// `-> e`, `<- e, ee`. Nobody is who: safe from those who only listen.
    NN,
    /// `-> e, es`, `<- e, ee`. The key of who accepts is known.
    NK,
    /// `-> e`, `<- e, ee, s, es`. As TLS without client certificates.
    NX,
    /// `-> e`, `<- e, ee`, `-> s, se`.
    XN,
    /// `-> e, es`, `<- e, ee`, `-> s, se`.
    XK,
    /// `-> e`, `<- e, ee, s, es`, `-> s, se`. Both learn who the other is, and no listener does.
    #[default]
    XX,
    /// `-> e`, `<- e, ee, se`.
    KN,
    /// `-> e, es, ss`, `<- e, ee, se`. Both know the other's key.
    KK,
    /// `-> e`, `<- e, ee, se, s, es`.
    KX,
    /// `-> e, s`, `<- e, ee, se`.
    IN,
    /// `-> e, es, s, ss`, `<- e, ee, se`. One round trip to somebody whose key is known.
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

/// What a pattern knows about the static key of a side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Static {
    /// There is none.
    None,
    /// The other side has it from elsewhere.
    Known,
    /// It is sent.
    Sent,
}

impl Pattern {
    /// Its name in the specification, and the tokens of its messages.
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

    /// Its name in the specification.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// How many messages there are: two or three. Who dialled sends the first.
    pub(super) fn message_count(self) -> usize {
        self.row().1.len()
    }

    /// The number of the last message of a side, from zero: the one that carries its payload.
    pub(super) fn last_message(self, role: Role) -> usize {
        match (role, self.message_count()) {
            (Role::Responder, _) => 1,
            (Role::Initiator, 2) => 0,
            (Role::Initiator, _) => 2,
        }
    }

    /// What it knows about the static key of a side.
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

    /// How long a message is without its payload, in bytes. From the first agreement on, and with a psk from the first key
    /// on, static keys and payloads are sealed, each with a tag of its own.
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

/// The cipher for everything from the first agreement on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Cipher {
    /// ChaCha20-Poly1305. Fast on every processor, and with a running time that says nothing about keys on all of them,
    /// which is why it is the default.
    #[default]
    ChaChaPoly,
    /// AES-256 in Galois counter mode. Faster where the processor has instructions for it.
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

/// The hash of the handshake. It matters to nothing that comes after.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Hash {
    /// BLAKE2s. Fast without special instructions, on small processors too, which is why it is the default; what
    /// WireGuard uses.
    #[default]
    Blake2s,
    /// BLAKE2b.
    Blake2b,
    /// SHA-256; what libp2p uses.
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
    fn the_keys_of_a_pattern_are_what_its_messages_say() {
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
