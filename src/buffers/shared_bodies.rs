//! Bodies that several send queues hold.

use slab::Slab;

use super::SendAccount;

/// The bodies of broadcasts that are queued. Each body is charged once, and
/// discharged when the last queue drops it.
#[derive(Debug, Default)]
pub(crate) struct SharedBodies {
    bodies: Slab<SharedBody>,
}

#[derive(Debug)]
struct SharedBody {
    bytes: usize,
    readers: usize,
}

/// Key of a body in [`SharedBodies`]. It is valid while a queue holds the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BodyKey(u32);

impl SharedBodies {
    /// Charges a body and returns its key. The caller adds the first reader at
    /// once.
    pub(super) fn insert(&mut self, bytes: usize, account: &mut SendAccount) -> BodyKey {
        account.charge(bytes);
        // Each queue that holds a body costs some bytes, so there are fewer
        // than 2^32 bodies.
        BodyKey(self.bodies.insert(SharedBody { bytes, readers: 0 }) as u32)
    }

    pub(super) fn add_reader(&mut self, key: BodyKey) {
        if let Some(body) = self.bodies.get_mut(key.0 as usize) {
            body.readers += 1;
        }
    }

    /// Discharges the body if this was its last reader.
    pub(super) fn remove_reader(&mut self, key: BodyKey, account: &mut SendAccount) {
        let Some(body) = self.bodies.get_mut(key.0 as usize) else {
            return;
        };
        body.readers -= 1;
        if body.readers == 0 {
            account.discharge(body.bytes);
            self.bodies.remove(key.0 as usize);
        }
    }

    /// Returns the total size of the bodies, each counted once.
    #[cfg(feature = "sim")]
    pub(crate) fn bytes(&self) -> usize {
        self.bodies.iter().map(|(_, body)| body.bytes).sum()
    }
}
