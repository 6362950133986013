//! The commands, and the answers to them.

use std::io::Write;
use std::time::{Duration, Instant};

use super::keys::{Keys, Reply};

/// Runs a command, and appends its answer. Returns whether it was the last one.
pub(crate) fn run(keys: &mut Keys, now: Instant, args: &[&[u8]], out: &mut Vec<u8>) -> Reply<bool> {
    let name = args.first().map_or(vec![], |it| it.to_ascii_uppercase());
    // The unit of times in milliseconds.
    let unit = if name.starts_with(b"P") { 1 } else { 1000 };
    match (name.as_slice(), args) {
        (b"GET", [_, key]) => bulk(out, keys.get(key, now).map(|it| &it.0)),
        (b"MGET", [_, _, ..]) => {
            line(out, format_args!("*{}", args.len() - 1));
            for key in &args[1..] {
                bulk(out, keys.get(key, now).map(|it| &it.0));
                if out.len() > super::resp::COMMAND_MAX {
                    return Err("ERR the answer is too long");
                }
            }
        }
        (b"SET", [_, key, value, options @ ..]) => {
            let (must_exist, expires) = read_options(now, options)?;
            let is_met = must_exist.is_none_or(|must| must == keys.get(key, now).is_some());
            let set = || keys.set(key, value.to_vec().into(), expires);
            is_met.then(set).transpose()?;
            line(out, if is_met { "+OK" } else { "$-1" });
        }
        (b"INCR", [_, key]) => {
            let zero = (b"0"[..].into(), None);
            let (value, expires) = keys.get(key, now).cloned().unwrap_or(zero);
            let number = integer(&value)?.checked_add(1);
            let number = number.ok_or("ERR increment or decrement would overflow")?;
            keys.set(key, number.to_string().into(), expires)?;
            line(out, format_args!(":{number}"));
        }
        (b"DEL", [_, _, ..]) => {
            let removed = |it: &&&[u8]| keys.get(it, now).is_some() && keys.remove(it).is_some();
            let removed = args[1..].iter().filter(removed);
            line(out, format_args!(":{}", removed.count()));
        }
        (b"EXPIRE" | b"PEXPIRE", [_, key, time]) => {
            let expires = after(now, Some(time), unit, i64::MIN)?;
            let value = keys.get(key, now).map(|it| it.0.clone());
            line(out, format_args!(":{}", u8::from(value.is_some())));
            value.map_or(Ok(()), |value| keys.set(key, value, Some(expires)))?;
        }
        (b"TTL" | b"PTTL", [_, key]) => {
            let left = |at: Instant| ((at - now).as_millis() as i64 + unit / 2) / unit;
            let left = keys.get(key, now).map(|it| it.1.map_or(-1, left));
            line(out, format_args!(":{}", left.unwrap_or(-2)));
        }
        (b"PING", [_]) => line(out, "+PONG"),
        (b"QUIT", _) => line(out, "+OK"),
        (b"INFO", _) => bulk(out, Some(format!("used_memory:{}\r\n", keys.memory))),
        // Clients ask for these when they start.
        (b"COMMAND" | b"CONFIG", _) => line(out, "*0"),
        // An empty command has no answer.
        (_, []) => {}
        _ => return Err("ERR unknown command or wrong number of arguments"),
    }
    Ok(name == b"QUIT")
}

/// Reads `[NX | XX] [EX seconds | PX milliseconds]`.
fn read_options(now: Instant, options: &[&[u8]]) -> Reply<(Option<bool>, Option<Instant>)> {
    let (mut must_exist, mut expires, mut options) = (None, None, options.iter());
    while let Some(option) = options.next() {
        match option.to_ascii_uppercase().as_slice() {
            b"NX" if must_exist.is_none() => must_exist = Some(false),
            b"XX" if must_exist.is_none() => must_exist = Some(true),
            b"EX" if expires.is_none() => expires = Some(after(now, options.next(), 1000, 1)?),
            b"PX" if expires.is_none() => expires = Some(after(now, options.next(), 1, 1)?),
            _ => return Err("ERR syntax error"),
        }
    }
    Ok((must_exist, expires))
}

/// Returns the instant that is `time` units of milliseconds after `now`, or `now` if
/// `time` is negative. The milliseconds must be at least `min`.
fn after(now: Instant, time: Option<&&[u8]>, unit: i64, min: i64) -> Reply<Instant> {
    let time = integer(time.ok_or("ERR syntax error")?)?.checked_mul(unit);
    // `TTL` adds half a second, which must not overflow.
    let time = time.filter(|time| (min..=i64::MAX - 500).contains(time));
    let after = |time: i64| now.checked_add(Duration::from_millis(time.max(0) as u64));
    time.and_then(after).ok_or("ERR invalid expire time")
}

/// Reads a number. Zeros and a plus in front of it are refused, as by Redis.
fn integer(bytes: &[u8]) -> Reply<i64> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let number = text.parse().ok().filter(|it: &i64| it.to_string() == text);
    number.ok_or("ERR value is not an integer or out of range")
}

/// Appends a value, or the answer for a key without a value.
fn bulk(out: &mut Vec<u8>, v: Option<impl AsRef<[u8]>>) {
    let Some(v) = v else { return line(out, "$-1") };
    line(out, format_args!("${}", v.as_ref().len()));
    out.extend_from_slice(v.as_ref());
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn line(out: &mut Vec<u8>, text: impl std::fmt::Display) {
    write!(out, "{text}\r\n").expect("writing into a vector cannot fail");
}
