use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::*;

const TEST: &str = "starvation::descriptor_exhaustion_refuses_cleanly";
const CHILD: &str = "PEERLOOP_STARVING";
const STARVES_AT: &str = "starves at ";
const FED: &str = "has descriptors again";
const DESCRIPTORS: usize = 40;
const TURNED_AWAY: u64 = 30;
const LET_IN: u64 = 10;

/// The same test in another process that has few file descriptors, and its output.
struct Starving {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Starving {
    fn begin() -> Self {
        let limited = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &limited])
            .arg(std::env::current_exe().expect("a path"))
            .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let output = child.stdout.take().expect("it is piped");
        let lines = BufReader::new(output).lines();
        Self { child, lines }
    }

    /// Waits until it prints this; the rest of the line.
    fn expect(&mut self, what: &str) -> String {
        let mut said = self.lines.by_ref().map(|line| line.expect("text"));
        said.find_map(|line| Some(line.split_once(what)?.1.to_owned()))
            .expect("it says so")
    }

    fn end(&mut self) {
        self.lines.by_ref().for_each(drop);
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "it has found something wrong");
    }
}

impl Drop for Starving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child process.
fn starve() {
    let alone = Alone::begin();
    let config = Config {
        accept_backoff: Duration::from_millis(5),
        ..Config::default()
    };
    let mut attacked = Attacked::new(config, echo);
    let open = || std::fs::File::open("/dev/null").ok();
    let ballast: Vec<std::fs::File> = std::iter::from_fn(open).collect();
    println!("{STARVES_AT}{}", attacked.addr);
    attacked.until("all have been refused", |node| {
        node.net().metrics().shed_connections == TURNED_AWAY
    });
    attacked.honest_goes_on();
    let metrics = attacked.node.net().metrics();
    assert_eq!(metrics.accepted, 1);
    assert!(metrics.accept_backoffs > 0);
    assert!(metrics.accept_errors <= metrics.accept_backoffs);
    drop(ballast);
    println!("{FED}");
    attacked.until("the later ones are accepted", |node| {
        node.net().metrics().accepted == 1 + LET_IN
    });
    attacked.end(TURNED_AWAY + LET_IN);
    alone.assert_below(2 * MIB);
}

#[test]
fn descriptor_exhaustion_refuses_cleanly() {
    if std::env::var_os(CHILD).is_some() {
        return starve();
    }
    let _alone = Alone::begin();
    let mut starving = Starving::begin();
    let addr = starving.expect(STARVES_AT).parse().expect("an address");
    let away: Vec<TcpStream> = (0..TURNED_AWAY)
        .map(|number| connect_from(loopback(number), addr))
        .collect();
    for mut peer in away {
        let end = peer.read(&mut [0; 8]).expect("an end and no reset");
        assert_eq!(end, 0);
    }
    starving.expect(FED);
    for number in 0..LET_IN {
        exchange(&mut connect_from(loopback(number), addr), number);
    }
    starving.end();
}
