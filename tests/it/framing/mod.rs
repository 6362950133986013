//! Framings on the wire.
