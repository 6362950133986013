//! Nodes in a simulated network.

mod slow_links;
