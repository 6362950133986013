//! Errors of settings.

use std::error::Error;
use std::fmt;
use std::io;

/// An invalid setting. It is found before anything is started or changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct ConfigError {
    /// The path of the field in [`Config`](crate::Config), for example
    /// `limits.max_connections`. Fields of a
    /// [`ConnectionConfig`](crate::config::ConnectionConfig) have no
    /// `connection.` prefix, because listeners and outbound connections have
    /// one too.
    pub field: &'static str,
    /// The reason why the value is invalid.
    pub problem: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (field, problem) = (self.field, self.problem);
        write!(f, "invalid configuration: `{field}` {problem}")
    }
}

impl Error for ConfigError {}

impl From<ConfigError> for io::Error {
    fn from(error: ConfigError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
