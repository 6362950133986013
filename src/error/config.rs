//! Errors of settings.

use std::error::Error;
use std::fmt;
use std::io;

/// The problem of an option that this system does not have.
pub(crate) const UNSUPPORTED: &str = "is not supported on this system";

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

/// The kind is `Unsupported` for an option that this system does not have, and
/// `InvalidInput` otherwise.
impl From<ConfigError> for io::Error {
    fn from(error: ConfigError) -> Self {
        let kind = if error.problem == UNSUPPORTED {
            io::ErrorKind::Unsupported
        } else {
            io::ErrorKind::InvalidInput
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_kind_tells_unsupported_from_invalid() {
        let kind = |problem| {
            let field = "sockets.user_timeout";
            io::Error::from(ConfigError { field, problem }).kind()
        };
        assert_eq!(kind(UNSUPPORTED), io::ErrorKind::Unsupported);
        assert_eq!(kind("must not be zero"), io::ErrorKind::InvalidInput);
    }
}
