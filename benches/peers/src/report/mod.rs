//! The output of the figures.

pub mod curves;
pub mod json;
pub mod machine;
pub mod plot;
pub mod table;
pub mod targets;
