//! Calls on the two-armed types of this module.

/// Calls a method of whichever variant a value is. The simulated one exists
/// with the feature `sim` only; without it the match has one arm and costs
/// nothing.
///
/// - `dispatch!(self, it => it.read(buffer))` for one value.
/// - `dispatch!(self, stream as Stream; (it, stream) => it.add_stream(stream,
///   0))` for two, which belong to the same backend: a registrar and its
///   sockets are made by one poller.
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
            _ => unreachable!("a simulated socket met one of the operating system"),
        }
    };
}

/// Makes each of the two backends' types one of the type that dispatches.
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
