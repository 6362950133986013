//! Requests of the example `metrics`: the pieces in which a stream arrives do not
//! matter, and each request is within the limits.

use peerloop::framing::{Decoded, Framer};

use crate::http::{BODY_MAX, FIELDS_MAX, HEAD_MAX, Request, Requests, Status};
use crate::input::Input;

/// Parts of streams. The first choice is bytes of the input.
const PARTS: &[&[u8]] = &[
    b"",
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"POST /echo?a HTTP/1.1\r\nHost: a\r\n",
    b"HEAD http://a/ HTTP/1.0\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"a: b\r\n",
    b"5\r\nabcde\r\n",
    b"0\r\n",
    b"0\r\n\r\n",
    b"00a;x=\"y\"\r\n0123456789\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b":",
    b"abcde",
];

#[derive(PartialEq, Debug)]
enum Outcome {
    Head(Request),
    Content(Vec<u8>),
    Refused(Status),
}

fn stream(input: &mut Input<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !input.is_empty() {
        match input.below(PARTS.len() + 3) {
            // More than the limits allow.
            choice if choice > PARTS.len() => {
                let times = 20 + input.below(100);
                let part = PARTS[input.below(PARTS.len())].repeat(times);
                stream.extend_from_slice(&part);
            }
            choice => {
                let own = input.below(8);
                let part = PARTS.get(choice).filter(|part| !part.is_empty());
                stream.extend_from_slice(part.copied().unwrap_or_else(|| input.take(own)));
            }
        }
    }
    stream
}

/// Decodes a stream that arrives in pieces. Returns the requests up to a refusal.
fn decode(stream: &[u8], mut piece: impl FnMut() -> usize) -> Vec<Outcome> {
    let mut framer = Requests::default();
    let mut outcomes = Vec::new();
    let (mut start, mut arrived, mut need) = (0, 0, 1);
    let mut head: Option<Request> = None;
    loop {
        while arrived < start + need {
            if arrived == stream.len() {
                return outcomes;
            }
            arrived = stream.len().min(arrived + piece().max(1));
        }
        let available = &stream[start..arrived];
        let message = match framer.decode(available).expect("no error of the framing") {
            Decoded::Frame { body, consumed } => {
                assert_eq!(body, 0..consumed);
                (start, need) = (start + consumed, 1);
                &available[body]
            }
            Decoded::Incomplete { at_least } => {
                assert!((available.len() + 1..=BODY_MAX).contains(&at_least));
                need = at_least;
                continue;
            }
            other => panic!("{other:?}"),
        };
        assert!((1..=BODY_MAX).contains(&message.len()));
        let outcome = if let Some(mut request) = head.take() {
            let content = request.content(message);
            content.map(|content| Outcome::Content(content.into_owned()))
        } else {
            Request::parse(message).map(|request| {
                check_head(message);
                head = Some(request.clone()).filter(Request::has_body);
                Outcome::Head(request)
            })
        };
        let outcome = outcome.unwrap_or_else(Outcome::Refused);
        let is_last = matches!(outcome, Outcome::Refused(_));
        outcomes.push(outcome);
        if is_last {
            return outcomes;
        }
    }
}

/// Checks a head that was accepted, in the simplest way.
fn check_head(head: &[u8]) {
    assert!(head.len() <= HEAD_MAX);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let lines: Vec<&str> = head.split("\r\n").collect();
    let [request_line, fields @ .., "", ""] = &lines[usize::from(lines[0].is_empty())..] else {
        panic!("{head:?}");
    };
    assert!(fields.len() <= FIELDS_MAX);
    assert!(!lines.concat().contains(['\r', '\n']), "{head:?}");
    let count = |name: &str| fields.iter().filter(|it| it.starts_with(name)).count();
    assert!(
        count("content-length:") + count("transfer-encoding:") <= 1,
        "{head:?}"
    );
    let hosts = count("host:");
    assert!(
        hosts == 1 || hosts == 0 && request_line.ends_with(" http/1.0"),
        "{head:?}"
    );
    assert!(
        fields.iter().all(|it| !it.starts_with([' ', '\t', ':'])),
        "{head:?}"
    );
}

/// Decodes a stream at once, byte by byte, and in pieces of the input.
pub fn http_requests(data: &[u8]) {
    let mut input = Input::new(data);
    let mut pieces = Input::new(input.take(16));
    let stream = stream(&mut input);
    let whole = decode(&stream, || stream.len());
    assert_eq!(decode(&stream, || 1), whole, "byte by byte");
    let longest = 1 + pieces.below(256);
    let in_pieces = decode(&stream, || 1 + pieces.below(longest));
    assert_eq!(in_pieces, whole, "in pieces");
}
