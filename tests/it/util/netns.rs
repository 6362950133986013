//! Two network namespaces with a link between them: ip-netns(8), veth(4).

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;

/// Addresses of the two ends of the link. They exist only in the namespaces.
pub const ADDRS: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

/// The name of the link in both namespaces.
pub const LINK: &str = "wire";

/// Two namespaces, which are deleted when this is dropped.
pub struct Namespaces {
    names: [String; 2],
}

impl Namespaces {
    /// Creates them for a test, or reports that the test is skipped, because
    /// this process may not. The name is short and unique in the process.
    ///
    /// # Panics
    ///
    /// If the program `ip` is missing and the environment variable `CI` is set.
    pub fn new(name: &str) -> Option<Self> {
        let names = ["a", "b"].map(|end| format!("peerloop-{name}-{}-{end}", std::process::id()));
        let it = Self { names };
        for name in &it.names {
            if let Err(error) = ip(&["netns", "add", name]) {
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                let is_ci = std::env::var_os("CI").is_some();
                assert!(!(is_missing && is_ci), "the program `ip` is not installed");
                return skip(&error);
            }
        }
        let [a, b] = &it.names;
        let add = [
            "-n", a, "link", "add", LINK, "type", "veth", "peer", "name", LINK,
        ];
        if let Err(error) = ip(&[&add[..], &["netns", b]].concat()) {
            return skip(&error);
        }
        for (name, addr) in it.names.iter().zip(ADDRS) {
            let addr = format!("{addr}/24");
            ip(&["-n", name, "addr", "add", &addr, "dev", LINK]).expect("an address");
            ip(&["-n", name, "link", "set", "lo", "up"]).expect("a device");
            ip(&["-n", name, "link", "set", LINK, "up"]).expect("a device");
        }
        Some(it)
    }

    /// Takes the link down at this end. The other end loses its carrier.
    pub fn cut(&self, end: usize) {
        let name = &self.names[end];
        ip(&["-n", name, "link", "set", LINK, "down"]).expect("a link");
    }

    /// Returns a command that runs `program` at this end.
    pub fn command(&self, end: usize, program: &Command) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[end]]);
        command.arg(program.get_program());
        command.args(program.get_args());
        for (name, value) in program.get_envs() {
            command.env(name, value.map_or_else(OsString::new, ToOwned::to_owned));
        }
        command
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // Deletes the link too. A namespace that was not made is an error.
        for name in &self.names {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

fn ip(args: &[&str]) -> io::Result<()> {
    let output = Command::new("ip")
        .args(args)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("ip {}: {text}", args.join(" "))))
}

/// Reports that the running test is skipped.
fn skip<T>(reason: &io::Error) -> Option<T> {
    let thread = thread::current();
    let test = thread.name().expect("the name of the test");
    // Without `eprintln!`, whose output is shown only when a test fails.
    let _ = writeln!(io::stderr(), "skipped {test}: no namespaces: {reason}");
    None
}
