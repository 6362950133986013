//! The types of bodies.

use std::io::IoSlice;

use crate::util::{Event, Recorder, config_with, pair, run_until};
use peerloop::{Body, Bytes, SendError, SendOutcome};

#[test]
fn every_form_and_length_is_one_message() {
    let config = config_with(|config| config.connection.send_queue.max_bytes = 64 << 20);
    let (mut a, to_b, mut b, to_a) = pair(config, Recorder::default(), Recorder::default());
    let mut expected = Vec::new();
    for len in [0, 1, 255, 16 * 1024 - 1, 16 * 1024, 70_000, 8 << 20] {
        let text: String = (0..len)
            .map(|at| char::from(b'0' + (at % 71) as u8))
            .collect();
        let body = text.as_bytes();
        let (head, rest) = body.split_at(len / 3);
        let parts = [IoSlice::new(head), IoSlice::new(b""), IoSlice::new(rest)];
        let forms = || -> [Body<'_>; 6] {
            [
                body.into(),
                text.as_str().into(),
                body.to_vec().into(),
                text.clone().into(),
                Bytes::from(text.clone()).into(),
                Body::parts(&parts),
            ]
        };
        for (token, (form, tracked)) in forms().into_iter().zip(forms()).enumerate() {
            a.net().send(to_b, form).unwrap();
            a.net().send_tracked(to_b, tracked, token as u64).unwrap();
            // The maximum of the queue is less than all forms of the longest
            // body.
            expected.extend([body.to_vec(), body.to_vec()]);
            run_until([&mut a, &mut b], |[_, b]| {
                b.handler().messages(to_a).len() == expected.len()
            });
        }
    }
    assert!(b.handler().messages(to_a).iter().eq(expected.iter()));
    let outcomes: Vec<(u64, SendOutcome)> = a
        .handler()
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Sent(_, token, outcome) => Some((*token, *outcome)),
            _ => None,
        })
        .collect();
    let each_len = [0, 1, 2, 3, 4, 5].map(|token| (token, SendOutcome::HandedOver));
    assert_eq!(outcomes, each_len.repeat(7));
    let mut body = vec![0; (8 << 20) + 1];
    assert_eq!(a.net().send(to_b, &body), Err(SendError::TooLarge));
    body.pop();
    a.net().send(to_b, &body).unwrap();
}
