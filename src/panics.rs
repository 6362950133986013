//! Containment of panics in code of the program.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::counts::Count;

/// Calls code of the program. Returns `None` if it panics.
pub(crate) fn contain<R>(call: impl FnOnce() -> R) -> Option<R> {
    Count::GuardedCalls.add(1);
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => Some(result),
        Err(payload) => {
            discard(payload);
            None
        }
    }
}

/// Drops the payload of a panic. The payload is a value of the program, and its
/// destructor may panic too. The payload of that second panic is leaked,
/// because its destructor may panic in turn.
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    if let Err(second) = dropped {
        std::mem::forget(second);
    }
}

/// Drops a value of the program and contains a panic of its destructor.
pub(crate) fn drop_contained<T>(value: T) {
    if contain(|| drop(value)).is_none() {
        log::error!(target: "peerloop", "a destructor panicked");
    }
}

/// A value of the program that the library owns. A panic of its destructor is
/// always contained, because a second panic during an unwind would abort the
/// process.
pub(crate) struct Contained<T: ?Sized>(Option<Box<T>>);

impl<T: ?Sized> Contained<T> {
    pub(crate) fn new(value: Box<T>) -> Self {
        Self(Some(value))
    }
}

const PRESENT: &str = "the value is present until it is dropped";

impl<T: ?Sized> Deref for Contained<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().expect(PRESENT)
    }
}

impl<T: ?Sized> DerefMut for Contained<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_deref_mut().expect(PRESENT)
    }
}

impl<T: ?Sized> Drop for Contained<T> {
    fn drop(&mut self) {
        drop_contained(self.0.take());
    }
}

impl<T: ?Sized> fmt::Debug for Contained<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contained")
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    struct PanicsOnDrop(u32);

    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            if let Some(again) = self.0.checked_sub(1) {
                panic_any(Self(again));
            }
        }
    }

    #[test]
    fn panicking_payload_is_contained() {
        for times in 0..4 {
            let result: Option<()> = contain(|| panic_any(PanicsOnDrop(times)));
            assert_eq!(result, None);
        }
        assert_eq!(contain(|| 5), Some(5));
    }

    #[test]
    fn panicking_destructor_is_contained() {
        let values: Vec<_> = (1..4)
            .map(|times| Contained::new(Box::new(PanicsOnDrop(times))))
            .collect();
        assert_eq!(values[2].0.as_ref().map(|value| value.0), Some(3));
        drop(values);
    }
}
