//! The HTTP server of the example `metrics` with curl and wrk.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use interop::programs::{Running, find};

/// Starts the server. Returns it with the URL of its root.
fn start() -> (Running, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metrics"));
    let mut server = Running::start(command.stdout(Stdio::piped()));
    let lines = BufReader::new(server.0.stdout.take().expect("a pipe")).lines();
    let line = lines.map_while(Result::ok).nth(1).expect("two addresses");
    let addr = line.strip_prefix("metrics on 127.0.0.1:").expect("a port");
    (server, format!("http://127.0.0.1:{addr}"))
}

/// Runs a program that succeeds. Returns what it prints.
#[track_caller]
fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.expect("the program starts");
    let [text, errors] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    assert!(output.status.success(), "{arguments:?}: {text}{errors}");
    text.into_owned()
}

/// Runs curl without a proxy. Its time is bounded.
#[track_caller]
fn curl(program: &Path, arguments: &[&str]) -> String {
    let common = [
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        "30",
    ];
    run(program, &[&common, arguments].concat())
}

/// Returns the status of a response.
#[track_caller]
fn status(program: &Path, arguments: &[&str]) -> String {
    let written = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    curl(program, &[&written, arguments].concat())
}

/// A file of this length in the target folder, and its path as an argument.
fn file(name: &str, len: usize) -> (Vec<u8>, PathBuf) {
    let content: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, &content).expect("a file");
    (content, path)
}

#[test]
fn http_curl_gets_and_heads() {
    let Some(program) = find("curl") else { return };
    let (_server, url) = start();
    let metrics = curl(&program, &[&format!("{url}/metrics")]);
    assert!(
        metrics.contains("\npeerloop_accepted_total 1\n"),
        "{metrics}"
    );
    let head = curl(&program, &["--head", &format!("{url}/health")]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Length: 3\r\n"), "{head}");
    let old = curl(
        &program,
        &["--http1.0", "--include", &format!("{url}/health")],
    );
    assert!(old.contains("\r\nConnection: close\r\n"), "{old}");
    assert!(old.ends_with("\r\n\r\nok\n"), "{old}");
    assert_eq!(status(&program, &[&format!("{url}/nothing")]), "404");
}

#[test]
fn http_curl_reuses_connection() {
    let Some(program) = find("curl") else { return };
    let (_server, url) = start();
    let urls = ["/health", "/", "/nothing", "/metrics"].map(|path| format!("{url}{path}"));
    let mut arguments: Vec<&str> = vec!["--write-out", "\nconnects: %{num_connects}\n"];
    arguments.extend(urls.iter().map(String::as_str));
    let output = curl(&program, &arguments);
    let is_count = |line: &&str| line.starts_with("connects: ");
    let connects: Vec<&str> = output.lines().filter(is_count).collect();
    assert_eq!(
        connects,
        ["connects: 1", "connects: 0", "connects: 0", "connects: 0"]
    );
}

#[test]
fn http_curl_uploads() {
    let Some(program) = find("curl") else { return };
    let (_server, url) = start();
    let echo = &format!("{url}/echo");
    let (content, path) = file("http-upload", 900_000);
    let (_, copy) = file("http-copy", 0);
    let [path, copy] = [&path, &copy].map(|path| path.to_str().expect("UTF-8"));
    let data = &format!("@{path}");
    for upload in [
        &[
            "--request",
            "POST",
            "-H",
            "Transfer-Encoding: chunked",
            "-T",
            path,
        ][..],
        &["--data-binary", data],
        // The wait for the status 100 is longer than the time of the test.
        &[
            "-H",
            "Expect: 100-continue",
            "--expect100-timeout",
            "60",
            "--data-binary",
            data,
        ],
        &["--http1.0", "--data-binary", data],
    ] {
        std::fs::write(copy, "").expect("a file");
        curl(
            &program,
            &[upload, &["--fail", "--output", copy, echo]].concat(),
        );
        let received = std::fs::read(copy).expect("a file");
        assert!(received == content, "{upload:?}: {} bytes", received.len());
    }
    let (_, long) = file("http-long", 2 << 20);
    let long = long.to_str().expect("UTF-8");
    for upload in [
        &["-T", long, "--request", "POST", echo][..],
        &[
            "-T",
            long,
            "--request",
            "POST",
            "-H",
            "Transfer-Encoding: chunked",
            echo,
        ],
    ] {
        assert_eq!(status(&program, upload), "413", "{upload:?}");
    }
}

/// Requests 16 at a time on each connection.
const PIPELINE: &str = "local requests
init = function()
  local all = {}
  for i = 1, 16 do all[i] = wrk.format(nil, '/health') end
  requests = table.concat(all)
end
request = function() return requests end
";

#[test]
fn http_wrk_finds_no_errors() {
    let Some(program) = find("wrk") else { return };
    let (_server, url) = start();
    let script = Path::new(env!("CARGO_TARGET_TMPDIR")).join("http-pipeline.lua");
    std::fs::write(&script, PIPELINE).expect("a file");
    let script = script.to_str().expect("UTF-8");
    let health = &format!("{url}/health");
    for arguments in [&[health.as_str()][..], &["-s", script, health]] {
        let output = run(&program, &[&["-t1", "-c50", "-d2s"], arguments].concat());
        println!("{output}");
        assert!(output.contains(" requests in "), "{output}");
        assert!(!output.contains(" requests in 0"), "{output}");
        // wrk prints these lines only if there were any.
        let is_bad = output.contains("Socket errors") || output.contains("Non-2xx");
        assert!(!is_bad, "{output}");
    }
}
