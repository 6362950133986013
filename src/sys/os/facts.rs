//! Facts that hold only with some selectors or on some operating systems.
//!
//! The base is mio's contract ([`mio::Poll`], "Draining readiness"): a socket
//! that was reported ready is reported again after one of its calls has
//! returned `WouldBlock`. There may be no event before. A fact goes beyond the
//! contract and saves system calls. It is used only where it is true.
//!
//! Linux and Android have epoll(7), macOS, iOS and the BSDs kqueue(2), Windows
//! AFD and IOCP. All other systems count as poll(2).
//!
//! | fact | epoll(7) | kqueue(2) | AFD and IOCP | poll(2) |
//! |---|---|---|---|---|
//! | [`SHORT_READ_IS_EMPTY`] | yes | yes | no | no |
//! | [`SHORT_WRITE_IS_FULL`] | yes | yes | no | no |
//! | [`ACCEPTED_INHERITS`] | yes | no | no | on Linux and Android |
//! | [`ACCEPTED_HAS_ADDRESS`] | yes | no | no | on Linux and Android |
//! | [`PEER_SHOWS_CONNECTED`] | yes | no | no | on Linux and Android |
//! | [`WRITABLE_MEANS_CONNECTED`] | yes | no | no | no |
//! | [`CLOSE_DEREGISTERS`] | on 64-bit targets | on 64-bit targets | no | no |
//! | [`HANGUP_DEREGISTERS`] | no | no | no | yes |
//!
//! mio uses poll(2) where it has no other selector, and on any Unix with
//! `--cfg mio_unsupported_force_poll_poll`. poll(2) has no descriptor, so
//! `Node::as_fd` and `Group::as_fd` do not exist with that setting.

/// Whether mio uses epoll(7) or kqueue(2).
const HAS_EPOLL_OR_KQUEUE: bool = cfg!(all(
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

/// Whether a read that did not fill its buffer has emptied the socket, so that
/// later data is a new event, although no call has returned `WouldBlock`.
///
/// - epoll(7), "Questions and answers": on a stream, a short read shows as well
///   as `EAGAIN` that all data was read. An edge-triggered descriptor is
///   reported again when more data arrives.
/// - kqueue(2): with `EV_CLEAR` the state is reset when the event is retrieved,
///   so later data activates the filter again.
/// - tokio relies on both facts in the same way (`PollEvented::poll_read`).
/// - With poll(2) and on Windows mio emulates edges: it removes the interest
///   that an event has reported, and adds it again in the call that returns
///   `WouldBlock` (mio 1.2, `IoSourceState::do_io`). After a short read alone
///   the connection would never be reported again.
///
/// An end of stream that was reported together with data causes no second
/// event. `Readiness::finished` records it.
///
/// Known exception: Linux ends a read at an urgent byte (tcp(7), `MSG_OOB`).
/// The messages of that peer after the byte wait for its next segment, for the
/// end of its stream or for a timeout. Other connections are not affected.
pub(super) const SHORT_READ_IS_EMPTY: bool = HAS_EPOLL_OR_KQUEUE;

/// Whether a write of at most 1 GiB that was not taken whole has filled the
/// socket, so that room is a new event, although no call has returned
/// `WouldBlock`.
///
/// - epoll(7), "Questions and answers": on a stream, a short write shows as
///   well as `EAGAIN` that the socket is full.
/// - Linux: send(2) and sendmsg(2) of TCP return a short count on the way on
///   which they return `EAGAIN` if nothing was taken (net/ipv4,
///   `tcp_sendmsg_locked`, label `wait_for_space`, and `sk_stream_wait_memory`).
///   It sets `SOCK_NOSPACE`, and the acknowledgement that makes room reports the
///   socket (`tcp_check_space`). MPTCP and kTLS wait in the same function.
/// - kqueue(2): with `EV_CLEAR` the state is reset when the event is retrieved,
///   so later room activates the filter again.
/// - tokio relies on both facts in the same way (`PollEvented::poll_write`).
/// - With poll(2) and on Windows mio emulates edges, as at
///   [`SHORT_READ_IS_EMPTY`].
///
/// A longer write is not taken whole either: Linux takes at most 2 GiB
/// (write(2)).
pub(super) const SHORT_WRITE_IS_FULL: bool = HAS_EPOLL_OR_KQUEUE;

/// Whether an accepted connection has the options `TCP_NODELAY`,
/// `SO_KEEPALIVE` with its times, and `TCP_USER_TIMEOUT` of its listener, which
/// saves the calls that set them.
///
/// - Linux makes the new socket as a copy of the listener's (net/ipv4,
///   `inet_csk_clone_lock`). tcp(7) documents it for `TCP_USER_TIMEOUT`. A test
///   in `listener` checks it.
/// - On other systems they are set on each connection, because no source
///   documents that they are inherited.
pub(super) const ACCEPTED_INHERITS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Whether a connection that a listener of one address has accepted has that
/// address as its local one, which saves the call that returns it. It is used
/// only for a listener that the library opened.
///
/// - Linux: the lookup of a listener compares its address with the destination
///   of the segment (net/ipv4, `compute_score` of inet_hashtables.c). Only
///   `IP_TRANSPARENT` (ip(7)), which the library never sets, and programs of
///   the administrator (`BPF_PROG_TYPE_SK_LOOKUP`) deliver segments to other
///   addresses.
/// - ipfw(8) of FreeBSD and pf.conf(5) of the BSDs forward connections to a
///   local listener. getsockname(2) then returns the original destination.
pub(super) const ACCEPTED_HAS_ADDRESS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Whether a socket has the address of its peer only while its connection is
/// established, so that a successful connect need not check for an error.
///
/// - Linux: getpeername(2) is `ENOTCONN` in the states closed and syn-sent
///   (net/ipv4, `inet_getname`), and a failed attempt is closed.
/// - On other systems the pending error is taken first, as documented at mio's
///   `TcpStream::connect`. On macOS getpeername(2) is `EINVAL` after a failed
///   attempt, which hides the cause.
pub(super) const PEER_SHOWS_CONNECTED: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Whether an event of a connecting socket that reports room for writing, and
/// neither an error nor the end of the stream, means that the connection is
/// established. It is used only for a socket that the library opened and that
/// was registered after connect(2).
///
/// - Linux: a socket in the state syn-sent is reported neither readable nor
///   writable, and a failed attempt is reported as `EPOLLERR` and `EPOLLHUP`
///   (net/ipv4, `tcp_poll`). A socket on which connect(2) was not called is
///   reported writable (epoll(7) reports it as `EPOLLOUT` and `EPOLLHUP`), and
///   so is one of the program with `TCP_FASTOPEN_CONNECT`.
/// - On other systems the socket is asked, as documented at mio's
///   `TcpStream::connect`.
pub(super) const WRITABLE_MEANS_CONNECTED: bool = cfg!(all(
    not(mio_unsupported_force_poll_poll),
    any(target_os = "linux", target_os = "android")
));

/// Whether closing the only descriptor of a socket ends its registration, which
/// saves the call that ends it.
///
/// - epoll(7), "Questions and answers": closing a descriptor removes it from all
///   interest lists if no other descriptor refers to the same open file
///   description. A socket that the program has passed to the library, or has
///   asked for with `Net::socket`, may have others, so its registration is
///   removed. While a forked process that has not called execve(2) has another
///   one, events have the token of a connection that has ended. They are counted
///   as stale and ignored. On 32-bit targets, where a token has no generation,
///   the next connection in the slot would get them, so the registration is
///   removed.
/// - kqueue(2): closing a descriptor removes the events that refer to it.
/// - With poll(2) and on Windows mio keeps a list of the registered sockets.
pub(super) const CLOSE_DEREGISTERS: bool = HAS_EPOLL_OR_KQUEUE && cfg!(target_pointer_width = "64");

/// Whether an error or a hangup ends the registration of a source.
///
/// - poll(2) reports `POLLERR` and `POLLHUP` even for descriptors without
///   interests. Therefore mio removes a descriptor that reported one of them
///   (mio 1.2, `SelectorState::select`). From then on mio returns `NotFound` for
///   the source.
/// - The other selectors keep the registration.
pub(super) const HANGUP_DEREGISTERS: bool = cfg!(unix) && !HAS_EPOLL_OR_KQUEUE;
