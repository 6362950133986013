//! Behind haproxy, in version 1 and 2.
//!
//! The tests are skipped where `haproxy` is not installed. If the environment
//! variable `CI` is set, they fail.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::behind;
use crate::util::program::{is_installed, skip};
use crate::util::{Recorder, frame, raw, run_until};
use peerloop::Config;

/// A haproxy that relays to a node, with a health check ten times a second.
struct Haproxy {
    child: Child,
    file: PathBuf,
    addr: SocketAddr,
}

impl Haproxy {
    /// Returns `None` if the test has to be skipped. `send` is the option of the
    /// server line, such as `send-proxy-v2`.
    fn begin(send: &str, node: SocketAddr) -> Option<Self> {
        if !is_installed("haproxy", "-v") {
            return skip("the program `haproxy` is not installed");
        }
        // Inherited as descriptor 0, so that no port has to be chosen.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let addr = listener.local_addr().expect("an address");
        let settings = format!(
            "defaults\n\
             \x20   mode tcp\n\
             \x20   timeout connect 30s\n\
             \x20   timeout client 1m\n\
             \x20   timeout server 1m\n\
             listen relay\n\
             \x20   bind fd@0\n\
             \x20   server node {node} {send} check inter 100ms\n"
        );
        let name = format!(
            "{}-{}.cfg",
            send.replace([' ', ','], "-"),
            std::process::id()
        );
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&file, settings).expect("a file");
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy");
        Some(Self { child, file, addr })
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.file);
    }
}

fn relay(send: &str) {
    let (mut node, here) = behind(Config::default(), Recorder::echo());
    let Some(haproxy) = Haproxy::begin(send, here) else {
        return;
    };
    for number in 0..3 {
        let mut client: TcpStream = raw::connect(haproxy.addr);
        let addr = client.local_addr().unwrap();
        client.write_all(&frame(&[number])).unwrap();
        run_until([&mut node], |[node]| {
            let conn = node.net().find(addr);
            conn.is_some_and(|conn| node.handler().messages(conn) == [[number]])
        });
        let conn = node.net().find(addr).expect("found above");
        let info = node.net().connection(conn).expect("it is open").info();
        assert_eq!(info.local_addr, Some(haproxy.addr));
        raw::settle(&mut node);
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..], frame(&[number]));
    }
    // Health checks connect from the proxy itself, and end at once.
    run_until([&mut node], |[node]| node.net().metrics().disconnected > 3);
    let metrics = node.net().metrics();
    assert_eq!(metrics.proxy_header_errors, 0);
    assert_eq!(metrics.refused_untrusted, 0);
}

#[test]
fn clients_of_version_1_have_true_addresses() {
    relay("send-proxy");
}

#[test]
fn clients_of_version_2_have_true_addresses() {
    relay("send-proxy-v2");
}

#[test]
fn entries_of_version_2_are_skipped() {
    relay("send-proxy-v2 proxy-v2-options crc32c,unique-id,authority");
}
