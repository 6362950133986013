//! Log lines and their levels; slow turns.

mod levels;
mod slow_turn;
