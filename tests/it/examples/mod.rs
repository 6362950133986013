//! Each example starts, prints what is expected and ends or is stopped.

mod http;
#[cfg(feature = "sim")]
mod http_simulated;
#[cfg(feature = "sim")]
mod kademlia;
#[cfg(feature = "sim")]
mod kv;
mod process;
mod torrent;
#[cfg(feature = "sim")]
mod torrent_simulated;

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
    ("keep_connected", &[], "they come back"),
    ("kademlia_dht", &[], "all values were found twice"),
    ("kv", &["--shards", "2"], "hello"),
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
    #[cfg(target_os = "linux")]
    ("c100k", &["400"], "400 connections at once"),
    #[cfg(feature = "sim")]
    ("c100k_simulated", &["400"], "400 connections at once"),
    #[cfg(feature = "noise")]
    ("noise", &[], "alice"),
    #[cfg(feature = "tls")]
    ("tls", &[], "mallory"),
    #[cfg(feature = "sim")]
    ("keep_connected_simulated", &[], "stated: 60s"),
    #[cfg(feature = "sim")]
    ("torrent_simulated", &[], "all downloads are complete"),
    #[cfg(feature = "sim")]
    ("kademlia_dht_simulated", &["4"], "all run  100 %"),
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

/// The picture of the README is one of this version.
#[cfg(feature = "sim")]
#[test]
fn picture_of_the_swarm_is_that_of_its_seed() {
    let directory = env!("CARGO_TARGET_TMPDIR");
    let drawn = format!("{directory}/gossip-{}.svg", std::process::id());
    let (code, output) = Process::start("simulated_gossip", &["--svg", &drawn]).end();
    assert_eq!(code, Some(0), "{output}");
    let stored = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/gossip.svg");
    let [drawn_svg, stored_svg] =
        [&drawn, stored].map(|path| std::fs::read_to_string(path).expect("a picture"));
    std::fs::remove_file(drawn).expect("the picture");
    assert!(
        drawn_svg == stored_svg,
        "draw it again: cargo run --features sim --example simulated_gossip -- --svg docs/gossip.svg"
    );
}

#[test]
fn each_explains_wrong_arguments() {
    let examples = [
        "c10k",
        "chat",
        "churn",
        "echo",
        "file_transfer",
        "kademlia_dht",
        "keep_connected",
        "kv",
        "mesh",
        "metrics",
        "torrent",
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
