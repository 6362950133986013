//! Checks that report the invalid field.

use crate::error::ConfigError;

pub(super) const KIB: usize = 1024;
pub(super) const MIB: usize = 1024 * KIB;

/// Returns an error with the name of the field unless `holds` is true.
pub(super) fn check(
    holds: bool,
    field: &'static str,
    problem: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError { field, problem })
    }
}

/// Returns an error with the name of the first field that is zero.
pub(super) fn check_nonzero<const N: usize>(
    fields: [(&'static str, bool); N],
) -> Result<(), ConfigError> {
    fields
        .into_iter()
        .try_for_each(|(field, is_zero)| check(!is_zero, field, "must not be zero"))
}
