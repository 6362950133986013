//! What is logged, at which level, and which turns are counted as slow.

mod levels;
mod slow_turn;
