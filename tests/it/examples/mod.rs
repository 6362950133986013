//! Each example starts, prints what is expected and ends or is stopped.

#[cfg(feature = "sim")]
mod kv;
mod process;

use process::Process;

/// An example that ends without input, its arguments, and a part of its output.
type Ending = (&'static str, &'static [&'static str], &'static str);

const ENDING: &[Ending] = &[
    ("quickstart", &[], "1000000 answers"),
    ("handshake", &[], "one connection remains"),
    ("telephone_game", &[], "wrong letters"),
    ("hot_potato_game", &[], "wins"),
    ("dining_philosophers", &[], "meals"),
    (
        "fixed_length_crusaders",
        &[],
        "160 messages each way, in 160 bytes",
    ),
    ("hapsburgs_plan_b", &[], "was thrown out"),
    (
        "mesh",
        &["--nodes", "5", "--topology", "line"],
        "4 connections",
    ),
    ("kv", &[], "hello"),
    ("keep_connected", &[], "they come back"),
    ("shards", &["--shards", "3"], "[3, 3, 2]"),
    ("churn", &["--seconds", "1", "--at-once", "10"], " cycles"),
    #[cfg(target_os = "linux")]
    (
        "c10k",
        &["--idle", "50", "--talking", "10", "--messages", "5"],
        "60 connections at once",
    ),
    ("simple_rpc", &[], "ended before the answer"),
    ("lan_discovery", &[], "one connection with each other"),
    #[cfg(target_os = "linux")]
    ("rate_limiting", &[], "no message is lost"),
    #[cfg(target_os = "linux")]
    ("hole_punching", &[], ": Outbound"),
    #[cfg(feature = "noise")]
    ("noise", &[], "alice"),
    #[cfg(feature = "tls")]
    ("tls", &[], "mallory"),
    #[cfg(feature = "sim")]
    ("keep_connected_simulated", &[], "stated: 60s"),
    #[cfg(feature = "sim")]
    (
        "simulated_gossip",
        &["--nodes", "50", "--seed", "4"],
        "virtual time",
    ),
];

#[test]
fn each_ends_with_its_result() {
    for (example, arguments, expected) in ENDING {
        let (code, output) = Process::start(example, arguments).end();
        assert_eq!(code, Some(0), "{example}: {output}");
        assert!(output.contains(expected), "{example}: {output}");
    }
}

#[test]
fn each_explains_wrong_arguments() {
    let examples = [
        "c10k",
        "chat",
        "churn",
        "echo",
        "file_transfer",
        "keep_connected",
        "mesh",
        "metrics",
    ];
    for example in examples {
        let (code, output) = Process::start(example, &["--wrong"]).end();
        assert_eq!(code, Some(1), "{example}: {output}");
        let expected = format!("{example}: invalid option '--wrong'");
        assert!(output.contains(&expected), "{output}");
    }
}

#[test]
fn each_server_serves_a_client() {
    let directory = env!("CARGO_TARGET_TMPDIR");
    let copy = &format!("{directory}/README.copy-{}", std::process::id());
    let original = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    for (example, server, client, expected) in [
        (
            "echo",
            &["server", "127.0.0.1:0"][..],
            &["client", "ADDR", "a text"][..],
            "a text",
        ),
        (
            "chat",
            &["host", "127.0.0.1:0", "alice"],
            &["join", "ADDR", "bob"],
            "bob",
        ),
        (
            "file_transfer",
            &["serve", "127.0.0.1:0", original],
            &["fetch", "ADDR", copy],
            "",
        ),
    ] {
        let mut server = Process::start(example, server);
        let addr = server.address();
        let arguments: Vec<&str> = client
            .iter()
            .map(|argument| {
                if *argument == "ADDR" {
                    &addr
                } else {
                    *argument
                }
            })
            .collect();
        let mut client = Process::start(example, &arguments);
        client.line(expected);
        let (code, output) = client.end();
        assert_eq!(code, Some(0), "{example}: {output}");
    }
    let [sent, received] = [original, copy].map(|path| std::fs::read(path).expect("a file"));
    std::fs::remove_file(copy).expect("the copy");
    assert!(sent == received, "the copy differs");
}

#[test]
fn metrics_answers_a_scrape() {
    use std::io::{Read, Write};

    let mut service = Process::start("metrics", &[]);
    let (_echo, metrics) = (service.address(), service.address());
    let mut peer = crate::util::raw::connect(metrics.parse().expect("an address"));
    peer.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("room");
    let mut response = String::new();
    peer.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(
        response.contains("\npeerloop_connections 1\n"),
        "{response}"
    );
}
