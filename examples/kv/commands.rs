//! The commands, and the answers to them.

use std::fmt::Display;
use std::io::Write;
use std::str;
use std::time::{Duration, Instant};

use peerloop::Bytes;

use super::resp::COMMAND_MAX;
use super::store::{Entry, Store};

/// A result whose error is the text of the answer.
pub(crate) type Outcome<T> = Result<T, &'static str>;

/// Runs a command, and appends its answer.
pub(crate) fn run(store: &mut Store, command: &[&[u8]], out: &mut Vec<u8>) -> Outcome<()> {
    let name = command[0].to_ascii_uppercase();
    let unit = if name[0] == b'P' { 1 } else { 1000 };
    match (name.as_slice(), &command[1..]) {
        (b"GET", [key]) => bulk(out, store.get(key).map(|entry| &entry.value)),
        (b"MGET", keys @ [_, ..]) => {
            line(out, format_args!("*{}", keys.len()));
            for key in keys {
                bulk(out, store.get(key).map(|entry| &entry.value));
                if out.len() > COMMAND_MAX {
                    return Err("ERR the answer is too long");
                }
            }
        }
        (b"SET", [key, value, options @ ..]) => {
            let is_set = set(store, key, value, options)?;
            line(out, if is_set { "+OK" } else { "$-1" });
        }
        (b"INCR", [key]) => {
            let old = store.get(key);
            let expires = old.and_then(|entry| entry.expires);
            let old = old.map_or(Ok(0), |entry| integer(&entry.value))?;
            let overflow = "ERR increment or decrement would overflow";
            let number = old.checked_add(1).ok_or(overflow)?;
            let value = number.to_string().into();
            store.set(key, Entry { value, expires })?;
            line(out, format_args!(":{number}"));
        }
        (b"DEL", keys @ [_, ..]) => {
            let removed = keys.iter().filter(|key| store.remove(key)).count();
            line(out, format_args!(":{removed}"));
        }
        (b"EXPIRE" | b"PEXPIRE", [key, time]) => {
            let expires = Some(after(store.now, integer(time)?.max(0), unit)?);
            let value = store.get(key).map(|entry| entry.value.clone());
            line(out, format_args!(":{}", u8::from(value.is_some())));
            value.map_or(Ok(()), |value| store.set(key, Entry { value, expires }))?;
        }
        (b"TTL" | b"PTTL", [key]) => {
            let left = |at: Instant| ((at - store.now).as_millis() as i64 + unit / 2) / unit;
            let left = store.get(key).map(|entry| entry.expires.map_or(-1, left));
            line(out, format_args!(":{}", left.unwrap_or(-2)));
        }
        (b"PING", []) => line(out, "+PONG"),
        (b"PING", [text]) => bulk(out, Some(text)),
        (b"QUIT", _) => line(out, "+OK"),
        (b"INFO", _) => {
            let (keys, memory) = (store.entries.len(), store.memory);
            let text = format!("used_memory:{memory}\r\nkeys:{keys}\r\n");
            bulk(out, Some(text));
        }
        // Clients ask for these when they start.
        (b"COMMAND" | b"CONFIG", _) => line(out, "*0"),
        (b"HELLO", _) => return Err("NOPROTO unsupported protocol version"),
        _ => return Err("ERR unknown command or wrong number of arguments"),
    }
    Ok(())
}

/// SET key value [NX | XX] [EX seconds | PX milliseconds]
fn set(store: &mut Store, key: &[u8], value: &[u8], options: &[&[u8]]) -> Outcome<bool> {
    let (mut must_exist, mut expires) = (None, None);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let option = option.to_ascii_uppercase();
        match option.as_slice() {
            b"NX" | b"XX" if must_exist.is_none() => must_exist = Some(option[0] == b'X'),
            b"EX" | b"PX" if expires.is_none() => {
                let time = integer(options.next().ok_or("ERR syntax error")?)?;
                expires = Some(after(
                    store.now,
                    time,
                    if option[0] == b'P' { 1 } else { 1000 },
                )?);
            }
            _ => return Err("ERR syntax error"),
        }
    }
    let is_set = must_exist.is_none_or(|must| must == store.get(key).is_some());
    if is_set {
        let value = Bytes::copy_from_slice(value);
        store.set(key, Entry { value, expires })?;
    }
    Ok(is_set)
}

fn after(now: Instant, time: i64, unit: i64) -> Outcome<Instant> {
    let time = time
        .checked_mul(unit)
        .and_then(|time| u64::try_from(time).ok());
    let at = time.and_then(|time| now.checked_add(Duration::from_millis(time)));
    at.ok_or("ERR invalid expire time")
}

fn integer(bytes: &[u8]) -> Outcome<i64> {
    let number = str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse().ok());
    number.ok_or("ERR value is not an integer or out of range")
}

fn bulk(out: &mut Vec<u8>, value: Option<impl AsRef<[u8]>>) {
    let Some(value) = value else {
        return line(out, "$-1");
    };
    line(out, format_args!("${}", value.as_ref().len()));
    out.extend_from_slice(value.as_ref());
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn line(out: &mut Vec<u8>, text: impl Display) {
    write!(out, "{text}\r\n").expect("writing into a vector cannot fail");
}
