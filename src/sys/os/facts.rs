//! Facts that hold with one selector, or on one operating system, and not with
//! all.
//!
//! The base is mio's contract ([`mio::Poll`], "Draining readiness"): a socket
//! that was reported ready is reported again once one of its calls has returned
//! `WouldBlock`, and there may be no event before. A fact goes beyond that and
//! spares system calls; it is used only where it is true.
//!
//! | fact | epoll(7): Linux, Android | kqueue(2): macOS, iOS, the BSDs | AFD and IOCP: Windows | poll(2), and all others |
//! |---|---|---|---|---|
//! | [`SHORT_READ_IS_EMPTY`] | yes | yes | no | no |
//! | [`ACCEPTED_INHERITS`] | yes | no | no | on Linux and Android |
//! | [`PEER_SHOWS_CONNECTED`] | yes | no | no | on Linux and Android |
//!
//! mio uses poll(2) where it has nothing else, and on any Unix with
//! `--cfg mio_unsupported_force_poll_poll`. poll(2) has no descriptor, so that
//! `Node::as_fd` and `Group::as_fd` do not exist with that setting.

/// Whether a read that returned less than it had room for has emptied the
/// socket, so that what arrives later is a new event, although no call has
/// returned `WouldBlock`.
///
/// - epoll(7), "Questions and answers": on a stream, the amount of data read
///   shows as well as `EAGAIN` that everything was read; an edge-triggered
///   descriptor is reported again when more data arrives.
/// - kqueue(2): with `EV_CLEAR` the state is reset when the event is retrieved,
///   so that later data activates the filter again.
/// - tokio relies on both in the same way (`PollEvented::poll_read`).
/// - With poll(2) and on Windows mio emulates edges: it drops the interest that
///   an event has answered and takes it up again in the call that returns
///   `WouldBlock` (mio 1.2, `IoSourceState::do_io`). After a short read alone
///   the connection would never be reported again.
///
/// An end of stream that was reported together with data gives no second event;
/// `Readiness::finished` remembers it.
///
/// Known exception: Linux ends a read at an urgent byte (tcp(7), `MSG_OOB`).
/// Messages of that peer that are behind it wait for its next segment, for the
/// end of its stream or for a timeout. Other connections are not affected.
pub(super) const SHORT_READ_IS_EMPTY: bool = cfg!(all(
    not(mio_unsupported_force_poll_poll),
    any(
        target_os = "linux",
        target_os = "android",
        target_os = "macos",
        target_os = "ios",
        target_os = "tvos",
        target_os = "visionos",
        target_os = "watchos",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd",
    )
));

/// Whether an accepted connection has `TCP_NODELAY` and `SO_KEEPALIVE` of its
/// listener, which spares the calls that set them.
///
/// - Linux makes the new socket as a copy of the listener's (net/ipv4,
///   `inet_csk_clone_lock`). A test of the listener checks it.
/// - Elsewhere they are set on each connection, because no source promises it.
pub(super) const ACCEPTED_INHERITS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Whether a socket has the address of its peer only while its connection is
/// established, so that a successful connect needs no look for an error.
///
/// - Linux: getpeername(2) is `ENOTCONN` in the states closed and syn-sent
///   (net/ipv4, `inet_getname`), and an attempt that failed is closed.
/// - Elsewhere the pending error is taken first, as mio's `TcpStream::connect`
///   says. On macOS getpeername(2) is `EINVAL` after a failed attempt, which
///   hides why.
pub(super) const PEER_SHOWS_CONNECTED: bool = cfg!(any(target_os = "linux", target_os = "android"));
