//! Sends, broadcasts and tracked sends.

mod bodies;
mod both_directions;
mod broadcast;
mod counters;
mod flush;
mod flush_in_on_turn;
mod overflow;
mod short_writes;
mod tracked;
