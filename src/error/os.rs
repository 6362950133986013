//! Errors of the operating system.

use std::error::Error;
use std::fmt;
use std::io;

/// An error of the operating system.
///
/// Unlike [`io::Error`] it is `Copy` and can be compared. It displays the
/// system's text for its code, such as "Too many open files (os error 24)".
/// Compare the [kind](OsError::kind) in tests: in the simulator there is no
/// code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct OsError {
    /// The kind of the error, as the standard library classifies its code.
    pub kind: io::ErrorKind,
    /// The code, such as an errno value. `None` if the error came from the
    /// library or from a simulated system.
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
