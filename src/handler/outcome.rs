//! The values that callbacks return and receive.

/// The result of [`Handler::on_accept`](crate::Handler::on_accept).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Admission {
    /// Accept the connection.
    Admit,
    /// Close the connection at once.
    Refuse,
}

/// The outcome of a message sent with [`Net::send_tracked`](crate::Net::send_tracked).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SendOutcome {
    /// The kernel took the whole message. This does not mean that the peer
    /// received it.
    HandedOver,
    /// The connection ended before the kernel took the whole message. The peer
    /// did not receive all of it.
    Lost,
}
