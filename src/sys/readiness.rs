//! Events of the poller.

/// The readiness of a source, given to
/// [`Handler::on_ready`](crate::Handler::on_ready).
///
/// Each flag is a hint. A flag that is set may be spurious, and a flag that is
/// not set proves nothing, because systems report different ones. Only reads
/// and writes tell what a source can do; see
/// [`Net::register`](crate::Net::register).
#[derive(Clone, Copy, Debug, Default)]
pub struct Readiness {
    pub(crate) token: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer closed its sending side, or the connection is broken. No
    /// further event follows, so the socket is read to its end even after a
    /// short read.
    pub(crate) finished: bool,
    pub(crate) write_closed: bool,
    pub(crate) error: bool,
}

impl Readiness {
    /// Returns whether a read may return bytes, the end or an error.
    pub fn is_readable(&self) -> bool {
        self.readable || self.finished
    }

    /// Returns whether a write may accept bytes or return an error.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Returns whether the other end has closed its sending side. Bytes may be
    /// left to read.
    pub fn is_read_closed(&self) -> bool {
        self.finished
    }

    /// Returns whether the other end receives no more, for example because the
    /// reader of a pipe has closed it.
    pub fn is_write_closed(&self) -> bool {
        self.write_closed
    }

    /// Returns whether the source has an error. The next read or write usually
    /// returns it.
    pub fn is_error(&self) -> bool {
        self.error
    }

    /// Returns the flags of two events of one source.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            token: self.token,
            readable: self.readable || other.readable,
            writable: self.writable || other.writable,
            finished: self.finished || other.finished,
            write_closed: self.write_closed || other.write_closed,
            error: self.error || other.error,
        }
    }
}
