//! Nodes in a simulated network.
