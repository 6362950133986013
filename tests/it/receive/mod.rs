//! Messages from the wire to the handler; `pause` and `resume`.

mod early_pause;
