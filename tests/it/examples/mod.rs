//! The examples end as they should.

mod tie_break;
