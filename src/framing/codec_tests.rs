use super::*;

/// Decodes a stream that arrives in these pieces, and joins them as the loop
/// does. Returns the frames, the rest and the error.
fn receive(
    mut codec: Codec,
    max: usize,
    pieces: &[&[u8]],
) -> (Vec<Vec<u8>>, Vec<u8>, Option<FramingError>) {
    let mut frames = Vec::new();
    let mut kept = Vec::new();
    let mut need = 0;
    for piece in pieces {
        kept.extend_from_slice(piece);
        if kept.len() < need {
            continue;
        }
        let mut ends = vec![0];
        let batch = codec.decode(&kept, need, max, |frame, end| {
            frames.push(frame.to_vec());
            ends.push(end);
            Flow::Continue
        });
        assert!(ends.is_sorted_by(|a, b| a < b), "{ends:?}");
        assert_eq!(ends.last(), Some(&batch.consumed));
        kept.drain(..batch.consumed);
        match batch.outcome {
            Outcome::Incomplete { need: more } => {
                assert!(more > kept.len(), "it needs bytes that it has");
                need = more;
            }
            Outcome::Stopped => panic!("the sink returns `Continue`"),
            Outcome::Bad(error) => return (frames, kept, Some(error)),
        }
    }
    (frames, kept, None)
}

fn encode(codec: &mut Codec, max: usize, body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    if let Codec::Custom(framer) = codec {
        framer.encode(body, &mut wire).unwrap();
        return wire;
    }
    codec.check_body(body).unwrap();
    wire.extend_from_slice(
        codec
            .header(body.len(), max)
            .unwrap()
            .as_slice(&mut [0; 16]),
    );
    wire.extend_from_slice(body);
    wire.extend(codec.tail());
    wire
}

/// A framer with a length prefix of one byte.
struct ByteFramer;

impl Framer for ByteFramer {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let end = 1 + usize::from(bytes[0]);
        Ok(match bytes.len() {
            len if len < end => Decoded::Incomplete { at_least: end },
            _ => Decoded::Frame {
                body: 1..end,
                consumed: end,
            },
        })
    }

    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.push(body.len() as u8);
        wire.extend_from_slice(body);
        Ok(())
    }
}

fn framings() -> Vec<Framing> {
    use crate::framing::ByteOrder::{BigEndian, LittleEndian};
    let mut all = vec![
        Framing::LengthDelimited(LengthPrefix::One),
        Framing::LengthDelimited(LengthPrefix::Varint),
        Framing::Delimited(b'\n'),
        Framing::custom(|| ByteFramer),
    ];
    for order in [BigEndian, LittleEndian] {
        for prefix in [
            LengthPrefix::Two(order),
            LengthPrefix::Three(order),
            LengthPrefix::Four(order),
            LengthPrefix::Eight(order),
        ] {
            all.push(Framing::LengthDelimited(prefix));
        }
    }
    all
}

#[test]
fn every_split_of_stream_gives_same_frames() {
    let bodies: [&[u8]; 4] = [b"", b"a", b"bcd", b""];
    for framing in framings() {
        let stream: Vec<u8> = bodies
            .iter()
            .flat_map(|body| encode(&mut Codec::new(&framing), 100, body))
            .collect();
        // Bit n of the mask cuts the stream after byte n. All masks cover every
        // way to cut the first eleven bytes.
        let cuts = (stream.len() - 1).min(11);
        for mask in 0u32..1 << cuts {
            let mut pieces = Vec::new();
            let mut start = 0;
            for cut in 0..cuts {
                if mask >> cut & 1 == 1 {
                    pieces.push(&stream[start..=cut]);
                    start = cut + 1;
                }
            }
            pieces.push(&stream[start..]);
            let (frames, kept, error) = receive(Codec::new(&framing), 100, &pieces);
            assert_eq!(frames, bodies, "{framing:?} {pieces:?}");
            assert_eq!((kept.len(), error), (0, None), "{framing:?} {pieces:?}");
        }
    }
}

#[test]
fn fixed_frames_are_whole_at_every_split() {
    for cut in 0..=9 {
        let (header, tail) = b"abcdefghi".split_at(cut);
        let (frames, kept, error) = receive(Codec::Fixed(4), 4, &[header, tail]);
        assert_eq!(frames, [b"abcd", b"efgh"]);
        assert_eq!((kept.as_slice(), error), (&b"i"[..], None));
    }
}

#[test]
fn raw_read_splits_at_maximum_length() {
    let (frames, kept, _) = receive(Codec::Raw, 4, &[b"abcdef", b"g"]);
    assert_eq!(frames, [&b"abcd"[..], b"ef", b"g"]);
    assert!(kept.is_empty());
}

#[test]
fn too_long_message_is_refused_on_its_header() {
    for framing in framings() {
        let Framing::LengthDelimited(prefix) = framing else {
            continue;
        };
        let header = prefix.header(101);
        let (frames, _, error) =
            receive(Codec::Length(prefix), 100, &[header.as_slice(&mut [0; 16])]);
        assert!(frames.is_empty());
        assert_eq!(
            error,
            Some(FramingError::TooLarge { len: 101, max: 100 }),
            "{prefix:?}"
        );
    }
}

#[test]
fn announced_length_never_overflows() {
    let eight = LengthPrefix::Eight(ByteOrder::BigEndian);
    let (_, _, error) = receive(Codec::Length(eight), 100, &[&[0xff; 8]]);
    assert_eq!(
        error,
        Some(FramingError::TooLarge {
            len: u64::MAX,
            max: 100
        })
    );
}

#[test]
fn line_without_end_is_refused() {
    let (_, _, error) = receive(Codec::Delimited(b'\n'), 4, &[b"ab", b"cd"]);
    assert_eq!(error, None);
    let (_, _, error) = receive(Codec::Delimited(b'\n'), 4, &[b"ab", b"cde"]);
    assert_eq!(error, Some(FramingError::TooLarge { len: 5, max: 4 }));
    let (_, _, error) = receive(Codec::Delimited(b'\n'), 4, &[b"abcde\n"]);
    assert_eq!(error, Some(FramingError::TooLarge { len: 5, max: 4 }));
}

#[test]
fn delimiter_is_found_at_every_position() {
    for at in 0..200 {
        let mut line = vec![b'x'; 200];
        line[at] = b'\n';
        assert_eq!(find(b'\n', &line), Some(at));
    }
    assert_eq!(find(b'\n', &[b'x'; 200]), None);
}

#[test]
fn stop_leaves_later_frames() {
    for framing in framings() {
        let mut codec = Codec::new(&framing);
        let first = encode(&mut codec, 100, b"one");
        let stream = [first.clone(), encode(&mut codec, 100, b"two")].concat();
        let mut frames = Vec::new();
        let batch = codec.decode(&stream, 0, 100, |frame, end| {
            frames.push((frame.to_vec(), end));
            Flow::Stop
        });
        assert_eq!(frames, [(b"one".to_vec(), first.len())], "{framing:?}");
        let expected = Batch {
            consumed: first.len(),
            outcome: Outcome::Stopped,
        };
        assert_eq!(batch, expected, "{framing:?}");
    }
}

#[test]
fn body_that_framing_cannot_carry_is_refused() {
    assert_eq!(
        Codec::Fixed(4).header(3, 100).unwrap_err(),
        SendError::Unframable
    );
    assert_eq!(
        Codec::Delimited(b'\n').check_body(b"a\nb"),
        Err(SendError::Unframable)
    );
    assert_eq!(
        Codec::Length(LengthPrefix::One)
            .header(256, 1000)
            .unwrap_err(),
        SendError::TooLarge
    );
    assert_eq!(
        Codec::Raw.header(101, 100).unwrap_err(),
        SendError::TooLarge
    );
}

/// A framer that returns a fixed result.
struct FixedResult(Decoded);

impl Framer for FixedResult {
    fn decode(&mut self, _: &[u8]) -> Result<Decoded, FramingError> {
        Ok(self.0.clone())
    }

    fn encode(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), FramingError> {
        Err(FramingError::Malformed("never"))
    }
}

/// Encodes the number of the frame and ignores the body.
struct Numbered(u8);

impl Framer for Numbered {
    fn decode(&mut self, _: &[u8]) -> Result<Decoded, FramingError> {
        Err(FramingError::Malformed("not part of the test"))
    }

    fn encode(&mut self, _: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        self.0 += 1;
        wire.push(self.0);
        Ok(())
    }
}

#[test]
fn every_codec_has_its_own_framer() {
    let framing = Framing::custom(|| Numbered(0));
    let mut codecs = [&framing, &framing, &framing.clone()].map(Codec::new);
    for number in 1..=2 {
        for codec in &mut codecs {
            assert_eq!(encode(codec, 100, b"body"), [number]);
        }
    }
}

#[test]
fn range_outside_input_is_malformed() {
    #[allow(
        clippy::reversed_empty_ranges,
        reason = "the test needs an invalid range"
    )]
    let results = [
        Decoded::Frame {
            body: 0..1,
            consumed: 0,
        },
        Decoded::Frame {
            body: 0..9,
            consumed: 1,
        },
        Decoded::Frame {
            body: 2..1,
            consumed: 1,
        },
        Decoded::Frame {
            body: 0..1,
            consumed: 9,
        },
    ];
    for result in results {
        let (frames, _, error) = receive(
            Codec::Custom(Box::new(Contained::new(Box::new(FixedResult(result))))),
            100,
            &[b"abc"],
        );
        assert!(frames.is_empty());
        assert!(matches!(error, Some(FramingError::Malformed(_))));
    }
    let greedy = FixedResult(Decoded::Incomplete { at_least: 101 });
    let (_, _, error) = receive(
        Codec::Custom(Box::new(Contained::new(Box::new(greedy)))),
        100,
        &[b"abc"],
    );
    assert_eq!(error, Some(FramingError::TooLarge { len: 101, max: 100 }));
}
