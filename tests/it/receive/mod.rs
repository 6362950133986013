//! Messages from the wire to the handler; `pause` and `resume`.

mod random_pauses;
