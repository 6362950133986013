//! Sends, broadcasts and tracked sends.

mod bodies;
mod broadcast;
mod counters;
mod flush;
