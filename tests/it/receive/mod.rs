//! Received bytes, up to the end of the stream; `pause` and `resume`.

mod early_pause;
mod end_while_paused;
mod fin;
pub(crate) mod pause;
mod pause_end;
mod random_pauses;
mod reset;
