//! Sends, broadcasts and tracked sends.

mod both_directions;
mod flush_in_on_turn;
mod overflow;
mod tracked;
