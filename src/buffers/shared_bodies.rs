//! Bodies that several send queues hold together.

use slab::Slab;

use super::SendAccount;

/// The bodies of broadcasts that are queued. Each is charged once, and the last
/// queue that drops it discharges it.
#[derive(Debug, Default)]
pub(crate) struct SharedBodies {
    bodies: Slab<SharedBody>,
}

#[derive(Debug)]
struct SharedBody {
    bytes: usize,
    readers: usize,
}

/// A body in [`SharedBodies`]. Valid while a queue holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BodyKey(u32);

impl SharedBodies {
    /// Charges a body. A reader follows at once.
    pub(super) fn insert(&mut self, bytes: usize, account: &mut SendAccount) -> BodyKey {
        account.charge(bytes);
        // A queue that holds a body costs some bytes, so there are fewer than
        // 2^32.
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

    /// Returns the bytes of all bodies, each counted once.
    #[cfg(feature = "sim")]
    pub(crate) fn bytes(&self) -> usize {
        self.bodies.iter().map(|(_, body)| body.bytes).sum()
    }
}
