//! The examples end as they should.
