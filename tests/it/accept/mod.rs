//! Inbound connections and `on_accept`.

mod admission;
#[cfg(target_os = "linux")]
mod descriptors;
mod one_event;
