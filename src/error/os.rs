//! Errors of the operating system.

use std::error::Error;
use std::fmt;
use std::io;

/// An error of the operating system.
///
/// Unlike [`io::Error`] it is `Copy` and can be compared. It displays the text
/// of the system for its code, such as "Too many open files (os error 24)".
/// Tests should compare the [kind](OsError::kind), because errors of the
/// simulator have no code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct OsError {
    /// The kind of the error, as classified by the standard library.
    pub kind: io::ErrorKind,
    /// The code of the system, such as an errno value. `None` if the error
    /// comes from the library or from the simulator.
    pub code: Option<i32>,
}

impl From<io::ErrorKind> for OsError {
    fn from(kind: io::ErrorKind) -> Self {
        Self { kind, code: None }
    }
}

impl From<&io::Error> for OsError {
    fn from(error: &io::Error) -> Self {
        Self {
            kind: error.kind(),
            code: error.raw_os_error(),
        }
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code).fmt(f),
            None => self.kind.fmt(f),
        }
    }
}

impl Error for OsError {}

impl From<OsError> for io::Error {
    fn from(error: OsError) -> Self {
        match error.code {
            Some(code) => Self::from_raw_os_error(code),
            None => error.kind.into(),
        }
    }
}
