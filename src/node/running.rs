//! A node that runs in a thread.

use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Handle, Node};
use crate::handler::Handler;
use crate::panics::discard;

/// A [`Node`] that runs in a thread, returned by [`Node::spawn`].
///
/// Dropping a `RunningNode` shuts the node down with a grace of zero and waits
/// for its thread. It does not wait where that could be a deadlock: inside a
/// callback of any node, and in its own thread. A panic of the thread is
/// logged. [`RunningNode::join`] resumes it instead.
///
/// ```
/// use std::time::Duration;
/// use peerloop::{Config, ConnId, Handler, Net, Node};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
///         let _ = net.send(conn, message);
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let mut node = Node::new(Config::default(), Echo)?;
/// let listening = node.net().listen("127.0.0.1:0")?;
/// let running = node.spawn()?;
/// println!("listening on {listening}");
/// // The thread runs until the node is shut down.
/// running.shutdown(Duration::from_secs(1));
/// let _handler: Echo = running.join()?;
/// # Ok(())
/// # }
/// ```
pub struct RunningNode<H> {
    handle: Handle<H>,
    /// `None` once it has been joined.
    thread: Option<JoinHandle<io::Result<H>>>,
}

impl<H: Handler + Send + 'static> Node<H> {
    /// Runs the node in a new thread, which has the name of the node.
    ///
    /// # Errors
    ///
    /// - The error of the operating system if the thread cannot be started. The
    ///   node is dropped then.
    pub fn spawn(mut self) -> io::Result<RunningNode<H>> {
        let handle = self.handle();
        let name = thread_name(self.net().name());
        let thread = thread::Builder::new().name(name).spawn(move || {
            self.run()?;
            Ok(self.into_handler())
        })?;
        Ok(RunningNode {
            handle,
            thread: Some(thread),
        })
    }
}

impl<H> RunningNode<H> {
    /// Returns a handle to the node.
    pub fn handle(&self) -> Handle<H> {
        self.handle.clone()
    }

    /// Shuts the node down, without waiting; see [`Handle::shutdown`].
    pub fn shutdown(&self, grace: Duration) {
        self.handle.shutdown(grace);
    }

    /// Waits until the node has stopped, and returns its handler. This call
    /// does not shut the node down.
    ///
    /// # Errors
    ///
    /// - `Deadlock` if this is called inside a callback of any node or in the
    ///   thread of this node. The node is shut down then, and not waited for;
    /// - the errors of [`Node::run`].
    ///
    /// # Panics
    ///
    /// Panics with the payload of the thread's panic if the thread has
    /// panicked. This happens if a callback panics and
    /// [`Config::on_panic`](crate::Config::on_panic) is
    /// [`OnPanic::Unwind`](crate::config::OnPanic::Unwind).
    pub fn join(mut self) -> io::Result<H> {
        self.handle.check_may_wait()?;
        if self.is_own_thread() {
            return Err(io::Error::new(
                io::ErrorKind::Deadlock,
                "a thread cannot wait for itself",
            ));
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => resume_unwind(panic),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn is_own_thread(&self) -> bool {
        let current = thread::current().id();
        let thread = self.thread.as_ref();
        thread.is_some_and(|thread| thread.thread().id() == current)
    }
}

impl<H> Drop for RunningNode<H> {
    fn drop(&mut self) {
        let is_outside = self.handle.check_may_wait().is_ok() && !self.is_own_thread();
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.handle.shutdown(Duration::ZERO);
        if !is_outside {
            return;
        }
        let name = thread.thread().name().unwrap_or_default().to_owned();
        match thread.join() {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => log::error!(target: "peerloop", "{name}: {error}"),
            Err(panic) => {
                log::error!(target: "peerloop", "{name} panicked: {}", panic_text(&*panic));
                discard(panic);
            }
        }
    }
}

impl<H> fmt::Debug for RunningNode<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningNode")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

/// Returns the name of a node without bytes that the name of a thread cannot
/// contain.
pub(super) fn thread_name(name: &str) -> String {
    name.replace('\0', "")
}

/// Returns the message of a panic.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
