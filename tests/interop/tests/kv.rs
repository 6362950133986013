//! The key-value server with redis-cli and redis-benchmark, beside redis-server.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Write, pipe};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use interop::PATIENCE;
use interop::programs::{Running, find, free_port, run};

/// Commands, among them wrong ones, that Redis answers in the same way.
const SCRIPT: &str = "\
PING
SET k v
GET k
GET nothing
SET k w NX
SET other w XX
SET k w XX EX 100
GET k
TTL k
SET k w PX 1000000
TTL k
SET k w
TTL k
TTL nothing
PTTL nothing
EXPIRE k 50
EXPIRE nothing 50
TTL k
PEXPIRE k 70000
TTL k
INCR n
incr n
GET n
PEXPIRE n 100000
INCR n
TTL n
MGET k nothing n
DEL k nothing n
MGET k n
SET k v
EXPIRE k 0
GET k
SET k v
EXPIRE k -1
GET k
SET big 9223372036854775807
INCR big
SET k \"a b\\r\\nc\"
GET k
INCR k
EXPIRE k soon
SET k 01
INCR k
SET k +1
INCR k
SET k -0
INCR k
SET k -1
INCR k
EXPIRE k +1
EXPIRE k 01
SET k v EX
SET k v EX soon
SET k v NX XX
SET k v SOME
";

const TESTS: [&str; 5] = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR"];

/// Runs a server that listens on this port, and waits until it does.
fn start(program: &Path, arguments: &[&str], port: u16) -> Running {
    let mut command = Command::new(program);
    let server = Running::start(command.args(arguments).stdout(Stdio::null()));
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < end, "{program:?} does not listen");
        thread::sleep(Duration::from_millis(5));
    }
    server
}

fn start_kv(shards: &str) -> (Running, u16) {
    let port = free_port();
    let addr = format!("127.0.0.1:{port}");
    let program = Path::new(env!("CARGO_BIN_EXE_kv"));
    let arguments = ["serve", &addr, "--shards", shards];
    (start(program, &arguments, port), port)
}

fn start_redis(program: &Path) -> (Running, u16) {
    let port = free_port();
    let text = port.to_string();
    let arguments = ["--save", "", "--appendonly", "no", "--port", &text];
    (start(program, &arguments, port), port)
}

/// Gives a script to redis-cli, and returns the answers.
fn answers(cli: &Path, port: u16) -> String {
    let (input, mut script) = pipe().expect("a pipe");
    // The pipe has room for it.
    script.write_all(SCRIPT.as_bytes()).expect("a pipe");
    drop(script);
    let mut command = Command::new(cli);
    command.args(["-p", &port.to_string()]).stdin(input);
    let (status, answers) = run(&mut command);
    assert!(status.success(), "{answers}");
    answers
}

/// Runs redis-benchmark, and returns its report.
fn benchmark(program: &Path, port: u16, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(["-p", &port.to_string(), "--csv"]);
    let (status, report) = run(command.args(arguments));
    assert!(status.success(), "{report}");
    report
}

#[test]
fn redis_cli_gets_the_answers_of_redis() {
    let programs = [find("redis-cli"), find("redis-server")];
    let [Some(cli), Some(redis)] = programs else {
        return;
    };
    let (_redis, redis_port) = start_redis(&redis);
    let expected = answers(&cli, redis_port);
    for shards in ["1", "2"] {
        let (_kv, port) = start_kv(shards);
        let given = answers(&cli, port);
        for (given, expected) in given.lines().zip(expected.lines()) {
            assert_eq!(given, expected, "in {given}");
        }
        assert_eq!(given, expected, "{shards} shards");
    }
}

#[test]
fn redis_cli_reads_info_and_config() {
    let Some(cli) = find("redis-cli") else {
        return;
    };
    let (_kv, port) = start_kv("1");
    for (command, expected) in [
        (&["INFO"][..], "used_memory:0"),
        (&["CONFIG", "GET", "save"], ""),
        (&["COMMAND", "DOCS"], ""),
        (&["HELLO", "3"], "ERR unknown command"),
        (&["-3", "PING"], "PONG"),
        (&["QUIT"], "OK"),
    ] {
        let mut cli = Command::new(&cli);
        cli.args(["-p", &port.to_string()]);
        let (_, text) = run(cli.args(command));
        assert!(text.contains(expected), "{command:?}: {text}");
    }
}

#[test]
fn redis_benchmark_completes() {
    let Some(program) = find("redis-benchmark") else {
        return;
    };
    for shards in ["1", "2"] {
        let (_kv, port) = start_kv(shards);
        for pipeline in ["1", "16"] {
            let arguments = ["-t", "ping,set,get,incr", "-n", "20000", "-P", pipeline];
            let random = ["-r", "1000", "-d", "100"];
            let report = benchmark(&program, port, &[&arguments[..], &random].concat());
            for test in TESTS {
                let row = format!("\"{test}\",");
                assert!(report.contains(&row), "no {test}: {report}");
            }
        }
    }
}

/// Returns the CPU time in seconds that the threads of a server have used, from
/// schedstat of proc(5). It counts nanoseconds, where stat counts ticks of 10 ms.
fn cpu_seconds(server: &Running) -> f64 {
    let threads = fs::read_dir(format!("/proc/{}/task", server.0.id()));
    let nanos = threads.expect("proc(5)").map(|thread| {
        let path = thread.expect("a thread").path().join("schedstat");
        let schedstat = fs::read_to_string(path).expect("proc(5)");
        let nanos = schedstat
            .split(' ')
            .next()
            .and_then(|it| it.parse::<u64>().ok());
        nanos.expect("a number")
    });
    nanos.sum::<u64>() as f64 / 1e9
}

/// Number of times that each server is measured.
const ROUNDS: usize = 5;

/// CPU microseconds per request of one shard and of redis-server, while 50 clients
/// send requests. Prints a table of the medians.
///
/// The servers alternate, and so does the one that is first in a round. The numbers
/// of requests cost about a second.
#[test]
#[ignore = "compares CPU time, which takes minutes"]
fn one_shard_takes_at_most_cpu_of_redis() {
    let programs = [find("redis-benchmark"), find("redis-server")];
    let [Some(program), Some(redis)] = programs else {
        return;
    };
    let servers = [start_kv("1"), start_redis(&redis)];
    let mut is_slower = false;
    println!("| test | pipeline | kv | redis-server | ratio |\n|---|---|---|---|---|");
    for (test, pipeline, requests) in [
        ("GET", 1, 150_000_u32),
        ("SET", 1, 150_000),
        ("GET", 16, 1_500_000),
        ("SET", 16, 1_500_000),
    ] {
        let mut costs = [const { Vec::new() }; 2];
        for index in (0..ROUNDS).flat_map(|round| [round % 2, 1 - round % 2]) {
            let (server, port) = &servers[index];
            let before = cpu_seconds(server);
            let (requests, pipeline) = (requests.to_string(), pipeline.to_string());
            let arguments = ["-t", test, "-n", &requests, "-P", &pipeline, "-c", "50"];
            benchmark(&program, *port, &arguments);
            costs[index].push(cpu_seconds(server) - before);
        }
        let [kv, redis] = costs.map(|mut costs| {
            costs.sort_by(f64::total_cmp);
            costs[ROUNDS / 2] * 1e6 / f64::from(requests)
        });
        let ratio = kv / redis;
        println!("| {test} | {pipeline} | {kv:.2} | {redis:.2} | {ratio:.2} |");
        is_slower |= ratio > 1.0;
    }
    assert!(
        !is_slower,
        "the server takes more CPU time than redis-server"
    );
}
