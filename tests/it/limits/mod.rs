//! Limits on connections, handshakes and memory.

mod connections;
mod handshake_places;
#[cfg(target_os = "linux")]
mod handshakes;
mod send_bytes;
#[cfg(target_os = "linux")]
mod slots;
