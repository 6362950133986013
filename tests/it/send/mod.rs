//! Sends, broadcasts and tracked sends.
