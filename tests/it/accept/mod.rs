//! Inbound connections and `on_accept`.
