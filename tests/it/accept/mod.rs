//! Inbound connections and `on_accept`.

#[cfg(target_os = "linux")]
mod descriptors;
