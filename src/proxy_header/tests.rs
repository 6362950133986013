use proptest::prelude::*;

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn relayed(source: &str, destination: &str) -> ProxyEnds {
    ProxyEnds::Relayed {
        source: addr(source),
        destination: addr(destination),
    }
}

/// A header of version 2.
fn binary(command: u8, protocol: u8, block: &[u8]) -> Vec<u8> {
    let len = (block.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[command, protocol], &len, block].concat()
}

const V4_BLOCK: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0xd4, 0x31, 0x1b, 0x58];

fn v6_block() -> Vec<u8> {
    let ends = ["2001:db8::9", "2001:db8::1"].map(|ip| ip.parse::<Ipv6Addr>().unwrap().octets());
    [&ends.concat()[..], &[0xd4, 0x31, 0x1b, 0x58]].concat()
}

/// Valid headers, each with its ends.
fn valid() -> Vec<(Vec<u8>, ProxyEnds)> {
    let v4 = relayed("203.0.113.9:54321", "10.0.0.1:7000");
    let v6 = relayed("[2001:db8::9]:54321", "[2001:db8::1]:7000");
    let with_tlv = |block: &[u8], len| [block, &vec![0x04; len]].concat();
    let lines: [(&str, ProxyEnds); 8] = [
        ("PROXY TCP4 203.0.113.9 10.0.0.1 54321 7000\r\n", v4),
        ("PROXY TCP6 2001:db8::9 2001:db8::1 54321 7000\r\n", v6),
        (
            "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
            relayed("0.0.0.0:0", "0.0.0.0:0"),
        ),
        ("PROXY TCP6 :: :: 1 1\r\n", relayed("[::]:1", "[::]:1")),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            relayed("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        ("PROXY UNKNOWN\r\n", ProxyEnds::Own),
        ("PROXY UNKNOWN \r\n", ProxyEnds::Own),
        (
            "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
            ProxyEnds::Own,
        ),
    ];
    let mut all: Vec<_> = lines
        .map(|(line, ends)| (line.as_bytes().to_vec(), ends))
        .into();
    let longest = [b"PROXY UNKNOWN ", &[b'x'; 91][..], b"\r\n"].concat();
    assert_eq!(longest.len(), KEPT_MAX);
    all.extend([
        (longest, ProxyEnds::Own),
        (binary(0x21, 0x11, &V4_BLOCK), v4),
        (binary(0x21, 0x11, &with_tlv(&V4_BLOCK, 9)), v4),
        (binary(0x21, 0x11, &with_tlv(&V4_BLOCK, 65_523)), v4),
        (binary(0x21, 0x21, &v6_block()), v6),
        (binary(0x21, 0x21, &with_tlv(&v6_block(), 100)), v6),
        (binary(0x21, 0x00, &[]), ProxyEnds::Own),
        (binary(0x21, 0x31, &[b'/'; 216]), ProxyEnds::Own),
        (binary(0x20, 0x00, &[]), ProxyEnds::Own),
        (binary(0x20, 0x11, &V4_BLOCK), ProxyEnds::Own),
        (binary(0x20, 0xff, &[1; 7]), ProxyEnds::Own),
    ]);
    all
}

/// Reads `stream` in pieces of at most `piece` bytes, and never more than the
/// progress asks for. Returns the ends and the number of bytes read.
fn read(stream: &[u8], piece: usize) -> Result<Option<(ProxyEnds, usize)>, MalformedHeader> {
    let (mut kept, mut at) = (Vec::new(), 0);
    let mut progress = HeaderProgress::BEGIN;
    loop {
        let wanted = match progress {
            HeaderProgress::Known { ends, rest: 0 } => return Ok(Some((ends, at))),
            HeaderProgress::Known { rest, .. } => rest,
            HeaderProgress::Incomplete(missing) => missing,
        };
        assert!(wanted > 0);
        let count = wanted.min(piece).min(stream.len() - at);
        if count == 0 {
            return Ok(None);
        }
        if let HeaderProgress::Known { rest, .. } = &mut progress {
            *rest -= count;
        } else {
            kept.extend_from_slice(&stream[at..at + count]);
            assert!(kept.len() <= KEPT_MAX);
            progress = decode_header(&kept)?;
        }
        at += count;
    }
}

#[test]
fn valid_header_is_read_to_its_end_exactly() {
    for (header, ends) in valid() {
        let stream = [&header[..], b"\r\nPROXY data"].concat();
        for piece in [1, 2, 3, 7, 16, usize::MAX] {
            let name = String::from_utf8_lossy(&header[..header.len().min(60)]);
            assert_eq!(
                read(&stream, piece),
                Ok(Some((ends, header.len()))),
                "{name}"
            );
        }
    }
}

#[test]
fn part_of_a_header_is_incomplete() {
    for (header, _) in valid() {
        for len in 0..header.len().min(300) {
            assert_eq!(read(&header[..len], usize::MAX), Ok(None));
        }
    }
}

#[test]
fn malformed_header_is_refused() {
    let lines = [
        "GET / HTTP/1.1\r\n",
        "Proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY\r\n and more text",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n and more",
        "PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 +2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 02\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\r\n",
        "PROXY TCP4 1.1.1.1 ::1 1 2\r\n and more",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY unknown\r\n",
    ];
    for line in lines {
        let result = read(line.as_bytes(), usize::MAX);
        assert!(result.is_err(), "{line:?}: {result:?}");
    }
    let long = [b"PROXY UNKNOWN ", &[b'x'; 92][..], b"\r\n"].concat();
    assert!(read(&long, usize::MAX).is_err(), "108 bytes");
    let unending = [b"PROXY TCP4 ", &[b'1'; 200][..]].concat();
    assert!(read(&unending, usize::MAX).is_err());
    let binaries = [
        binary(0x11, 0x11, &V4_BLOCK),
        binary(0x31, 0x11, &V4_BLOCK),
        binary(0x22, 0x11, &V4_BLOCK),
        binary(0x21, 0x12, &V4_BLOCK),
        binary(0x21, 0x22, &v6_block()),
        binary(0x21, 0x32, &[0; 216]),
        binary(0x21, 0x01, &V4_BLOCK),
        binary(0x21, 0x41, &V4_BLOCK),
        binary(0x21, 0x11, &V4_BLOCK[..11]),
        binary(0x21, 0x21, &v6_block()[..35]),
        binary(0x21, 0x31, &[0; 215]),
    ];
    for header in binaries {
        assert!(read(&header, usize::MAX).is_err(), "{header:?}");
    }
}

#[test]
fn wrong_first_bytes_are_refused_at_once() {
    for begin in [&b"Q"[..], b"\0", b"PRO ", b"\r\n\r\n\0\n"] {
        assert!(decode_header(begin).is_err(), "{begin:?}");
    }
}

proptest! {
    #[test]
    fn relayed_addresses_are_read_back(
        v4: bool, from: u128, to: u128, ports: (u16, u16), as_line: bool, piece in 1_usize..60,
    ) {
        let ip = |bits: u128| -> IpAddr {
            if v4 { Ipv4Addr::from_bits(bits as u32).into() } else { Ipv6Addr::from_bits(bits).into() }
        };
        let (source, destination) = (SocketAddr::new(ip(from), ports.0), SocketAddr::new(ip(to), ports.1));
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let header = if as_line {
            let protocol = if v4 { "TCP4" } else { "TCP6" };
            let line = format!("PROXY {protocol} {} {} {} {}\r\n", ip(from), ip(to), ports.0, ports.1);
            line.into_bytes()
        } else {
            let ends = [octets(ip(from)), octets(ip(to))].concat();
            let ports = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
            binary(0x21, if v4 { 0x11 } else { 0x21 }, &[ends, ports].concat())
        };
        let stream = [&header[..], b"the first message"].concat();
        let ends = ProxyEnds::Relayed { source, destination };
        prop_assert_eq!(read(&stream, piece), Ok(Some((ends, header.len()))));
    }

    /// Almost valid headers: one byte is changed.
    #[test]
    fn any_bytes_are_decoded_without_a_panic(
        which in 0_usize..19, at: prop::sample::Index, byte: u8, piece in 1_usize..40,
    ) {
        let (mut header, _) = valid()[which].clone();
        let at = at.index(header.len().min(120));
        header[at] = byte;
        let _ = read(&header, piece);
    }
}
