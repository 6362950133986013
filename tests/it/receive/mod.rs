//! Messages from the wire to the handler; `pause` and `resume`.

mod early_pause;
mod end_while_paused;
mod random_pauses;
