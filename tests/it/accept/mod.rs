//! Inbound connections and `on_accept`.

mod one_event;
