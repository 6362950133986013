//! Calls on the types of this module, which have a variant per backend.

/// Calls a method of the variant that a value has. The simulated variant exists
/// only with the feature `sim`. Without it the match has one arm and no cost.
///
/// - `dispatch!(self, it => it.read(buffer))` for one value.
/// - `dispatch!(self, stream as Stream; (it, stream) => it.call(stream))`
///   for two values, which belong to the same backend, because one poller makes
///   a registrar and its sockets.
macro_rules! dispatch {
    ($value:expr, $it:ident => $call:expr) => {
        match $value {
            Self::Os($it) => $call,
            #[cfg(feature = "sim")]
            Self::Sim($it) => $call,
        }
    };
    ($value:expr, $other:ident as $Other:ident; ($it:ident, $that:ident) => $call:expr) => {
        match ($value, $other) {
            (Self::Os($it), $Other::Os($that)) => $call,
            #[cfg(feature = "sim")]
            (Self::Sim($it), $Other::Sim($that)) => $call,
            #[cfg(feature = "sim")]
            _ => unreachable!("a simulated socket was used with one of the operating system"),
        }
    };
}

/// Implements `From` for the types of both backends.
macro_rules! from_backends {
    ($Name:ident: $os:ty, $sim:ty) => {
        impl From<$os> for $Name {
            #[inline]
            fn from(it: $os) -> Self {
                Self::Os(it)
            }
        }

        #[cfg(feature = "sim")]
        impl From<$sim> for $Name {
            #[inline]
            fn from(it: $sim) -> Self {
                Self::Sim(it)
            }
        }
    };
}

pub(super) use {dispatch, from_backends};
