//! Inbound connections and `on_accept`.

mod admission;
