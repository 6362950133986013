//! Files of this repository agree with each other.
