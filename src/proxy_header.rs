//! The header of the PROXY protocol, versions 1 and 2 (haproxy,
//! `doc/proxy-protocol.txt`, sections 2.1 and 2.2).
//!
//! ```text
//! version 1: a line of ASCII, at most 107 bytes long
//!   PROXY TCP4 <source> <destination> <source port> <destination port>\r\n
//!
//! version 2
//!   0           12   13   14       16
//!   ┌───────────┬────┬────┬────────┬───────────┬──────┐
//!   │ signature │2|c │f|p │ length │ addresses │ TLVs │
//!   └───────────┴────┴────┴────────┴───────────┴──────┘
//!                     c command          └──── length ────┘
//!                     f|p family and protocol
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Maximum length of a header of version 1, in bytes. The kept part of
/// a header of version 2 is shorter: its type-length-value entries are skipped.
pub(crate) const KEPT_MAX: usize = 107;

/// Length of the shortest header, in bytes: `PROXY UNKNOWN\r\n`.
const SHORTEST: usize = 15;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Length of the fixed part of a header of version 2, in bytes.
const FIXED_LEN: usize = 16;

/// The two ends of a connection, as its header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProxyEnds {
    /// The header has no addresses of TCP: the connection is one of the proxy
    /// itself, such as a health check.
    Own,
    /// The proxy relays a connection.
    Relayed {
        source: SocketAddr,
        destination: SocketAddr,
    },
}

/// The result of decoding the beginning of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeaderProgress {
    /// At least this many further bytes belong to the header. Not zero.
    Incomplete(usize),
    /// The ends are known. This many further bytes belong to the header, and
    /// are to be skipped.
    Known { ends: ProxyEnds, rest: usize },
}

impl HeaderProgress {
    /// The progress before the first byte.
    pub(crate) const BEGIN: Self = Self::Incomplete(SHORTEST);
}

/// The bytes are not the beginning of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MalformedHeader(pub(crate) &'static str);

/// Decodes the bytes of a header that have arrived.
///
/// A reader that never reads more bytes than the result asks for reads no byte
/// after the header.
pub(crate) fn decode_header(kept: &[u8]) -> Result<HeaderProgress, MalformedHeader> {
    match kept.first() {
        None => Ok(HeaderProgress::BEGIN),
        Some(b'P') => decode_line(kept),
        Some(_) => decode_binary(kept),
    }
}

/// Decodes version 1.
fn decode_line(kept: &[u8]) -> Result<HeaderProgress, MalformedHeader> {
    check_begin(kept, b"PROXY ")?;
    let end = kept.windows(2).position(|two| two == b"\r\n");
    match end {
        Some(end) if end + 2 == kept.len() => {
            let ends = line_ends(&kept[..end])?;
            Ok(HeaderProgress::Known { ends, rest: 0 })
        }
        Some(_) => Err(MalformedHeader("its line is too short")),
        None if kept.len() >= KEPT_MAX => Err(MalformedHeader("its line is too long")),
        None => {
            let missing = missing_in_line(kept).min(KEPT_MAX - kept.len());
            Ok(HeaderProgress::Incomplete(missing))
        }
    }
}

fn check_begin(kept: &[u8], begin: &[u8]) -> Result<(), MalformedHeader> {
    let len = kept.len().min(begin.len());
    if kept[..len] == begin[..len] {
        Ok(())
    } else {
        Err(MalformedHeader("there is none"))
    }
}

/// Returns a number of bytes that a line needs at least to be complete.
fn missing_in_line(kept: &[u8]) -> usize {
    if kept.len() < SHORTEST {
        return SHORTEST - kept.len();
    }
    let end = if kept.ends_with(b"\r") { 1 } else { 2 };
    // The shortest fields: the tag, the protocol, two addresses, two ports.
    let shortest = match kept.get(6..11) {
        Some(b"TCP4 ") => [5, 4, "0.0.0.0".len(), "0.0.0.0".len(), 1, 1],
        Some(b"TCP6 ") => [5, 4, "::".len(), "::".len(), 1, 1],
        _ => return end,
    };
    let fields = kept.split(|byte| *byte == b' ');
    let (count, last) = fields.fold((0, 0), |(count, _), field| (count + 1, field.len()));
    let present = shortest.get(count - 1).copied().unwrap_or(0);
    let later = shortest.iter().skip(count).map(|len| 1 + len);
    present.saturating_sub(last) + later.sum::<usize>() + end
}

/// Returns the ends in a line without its end.
fn line_ends(line: &[u8]) -> Result<ProxyEnds, MalformedHeader> {
    // The rest of the line is not specified.
    if line == b"PROXY UNKNOWN" || line.starts_with(b"PROXY UNKNOWN ") {
        return Ok(ProxyEnds::Own);
    }
    let malformed = MalformedHeader("its line is malformed");
    let line = std::str::from_utf8(line).map_err(|_| malformed)?;
    let mut fields = line.split(' ').skip(1);
    let fields: [Option<&str>; 6] = std::array::from_fn(|_| fields.next());
    let [
        Some(protocol),
        Some(from),
        Some(to),
        Some(from_port),
        Some(to_port),
        None,
    ] = fields
    else {
        return Err(malformed);
    };
    let ip = |text: &str| match protocol {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let addr = |text, port| Some(SocketAddr::new(ip(text)?, decimal_port(port)?));
    let ends = addr(from, from_port).zip(addr(to, to_port));
    let (source, destination) = ends.ok_or(malformed)?;
    Ok(ProxyEnds::Relayed {
        source,
        destination,
    })
}

/// Parses a port without a sign and without leading zeros.
fn decimal_port(text: &str) -> Option<u16> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_shortest = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| is_decimal && is_shortest)
}

/// Decodes version 2.
fn decode_binary(kept: &[u8]) -> Result<HeaderProgress, MalformedHeader> {
    check_begin(kept, SIGNATURE)?;
    let Some(fixed) = kept.first_chunk::<FIXED_LEN>() else {
        return Ok(HeaderProgress::Incomplete(FIXED_LEN - kept.len()));
    };
    let [.., command, protocol, high, low] = *fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    // The lengths of the addresses that are present and that are kept.
    let (present, wanted) = match (command, protocol) {
        // A connection of the proxy itself (LOCAL). Its protocol is ignored.
        (0x20, _) => (0, 0),
        (0x21, 0x00) => (0, 0),
        (0x21, 0x11) => (12, 12),
        (0x21, 0x21) => (36, 36),
        // Unix sockets have paths of 108 bytes.
        (0x21, 0x31) => (216, 0),
        (0x21, _) => return Err(MalformedHeader("its protocol is not TCP")),
        _ => return Err(MalformedHeader("its version or command is unknown")),
    };
    if len < present {
        return Err(MalformedHeader("it is shorter than its addresses"));
    }
    let addresses = &kept[FIXED_LEN..];
    if addresses.len() < wanted {
        return Ok(HeaderProgress::Incomplete(wanted - addresses.len()));
    }
    let ends = match wanted {
        12 => ends_of::<4>(addresses),
        36 => ends_of::<16>(addresses),
        _ => Some(ProxyEnds::Own),
    };
    let ends = ends.ok_or(MalformedHeader("it is shorter than its addresses"))?;
    let rest = len - wanted;
    Ok(HeaderProgress::Known { ends, rest })
}

/// Returns the ends in a block of two addresses of `N` bytes and two ports.
fn ends_of<const N: usize>(block: &[u8]) -> Option<ProxyEnds>
where
    IpAddr: From<[u8; N]>,
{
    let (from, block) = block.split_first_chunk::<N>()?;
    let (to, block) = block.split_first_chunk::<N>()?;
    let (from_port, block) = block.split_first_chunk()?;
    let to_port = block.first_chunk()?;
    Some(ProxyEnds::Relayed {
        source: SocketAddr::new((*from).into(), u16::from_be_bytes(*from_port)),
        destination: SocketAddr::new((*to).into(), u16::from_be_bytes(*to_port)),
    })
}

#[cfg(test)]
mod tests;
