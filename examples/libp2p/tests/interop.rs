//! Hosts of rust-libp2p on the other end.

mod support;

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::identify;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{NetworkBehaviour, StreamProtocol, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, noise, ping, tcp, yamux};
use support::{PATIENCE, Program};
use tokio::time::timeout;

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    stream: libp2p_stream::Behaviour,
}

fn swarm() -> Swarm<Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .expect("a transport")
        .with_behaviour(|key| Behaviour {
            identify: identify::Behaviour::new(identify::Config::new("/test".into(), key.public())),
            ping: ping::Behaviour::default(),
            stream: libp2p_stream::Behaviour::new(),
        })
        .expect("a behaviour")
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
        .build()
}

/// What a host of rust-libp2p has heard of its peer.
#[derive(Default)]
struct Heard {
    identify: Option<identify::Info>,
    ping: Option<Duration>,
}

impl Heard {
    fn is_complete(&self) -> bool {
        self.identify.is_some() && self.ping.is_some()
    }

    fn take(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                info,
                ..
            })) => {
                self.identify = Some(info);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => {
                self.ping = Some(event.result.expect("an answer to a ping"));
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
            SwarmEvent::IncomingConnectionError { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
}

/// Runs both ends until the program has ended and the swarm has heard everything.
async fn run(mut swarm: Swarm<Behaviour>, program: Program) -> (Heard, String) {
    let mut heard = Heard::default();
    let mut program = tokio::task::spawn_blocking(|| program.wait());
    let both = async {
        let mut output = None;
        while output.is_none() || !heard.is_complete() {
            tokio::select! {
                event = swarm.select_next_some() => heard.take(event),
                ended = &mut program, if output.is_none() => output = Some(ended.expect("no panic")),
            }
        }
        output.expect("it has ended")
    };
    let (status, output) = timeout(PATIENCE, both).await.expect("both ends finish");
    assert!(status.success(), "{output}");
    (heard, output)
}

/// Checks what both ends say about each other.
fn check(heard: Heard, output: &str, ours: Option<&str>, theirs: PeerId) {
    let info = heard.identify.expect("it is complete");
    assert_eq!(info.agent_version, "peerloop-libp2p");
    let protocols = ["/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"];
    assert_eq!(info.protocols, protocols.map(StreamProtocol::new));
    if let Some(ours) = ours {
        assert_eq!(PeerId::from(info.public_key).to_string(), ours);
    }
    for text in [
        "rust-libp2p/",
        "ping 5: ",
        "/ipfs/id/push/1.0.0",
        &format!("{theirs}: done"),
    ] {
        assert!(output.contains(text), "no {text} in {output}");
    }
}

#[tokio::test]
async fn ours_connects_to_theirs() {
    let mut swarm = swarm();
    let theirs = *swarm.local_peer_id();
    let any = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
    swarm.listen_on(any).expect("a listener");
    let addr = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    let Some(Protocol::Tcp(port)) = addr.iter().last() else {
        panic!("{addr}");
    };
    let program = Program::start(&["connect", &format!("127.0.0.1:{port}/p2p/{theirs}")]);
    let (heard, output) = run(swarm, program).await;
    check(heard, &output, None, theirs);
    assert!(output.contains(&addr.to_string()), "{output}");
}

/// Starts a host that listens, and connects to it.
async fn connect() -> (Swarm<Behaviour>, Program, String) {
    let mut program = Program::start(&["listen", "127.0.0.1:0"]);
    let (addr, ours) = program.address();
    let addr = Multiaddr::from(addr.ip())
        .with(Protocol::Tcp(addr.port()))
        .with(Protocol::P2p(ours.parse().expect("a peer id")));
    let mut swarm = swarm();
    swarm.dial(addr).expect("an address to connect to");
    (swarm, program, ours)
}

#[tokio::test]
async fn theirs_connects_to_ours() {
    let (swarm, program, ours) = connect().await;
    let theirs = *swarm.local_peer_id();
    let (heard, output) = run(swarm, program).await;
    check(heard, &output, Some(&ours), theirs);
}

/// Eight streams send and receive 3 MiB each, twelve times the first window.
#[tokio::test]
async fn streams_exceed_their_windows() {
    const LEN: usize = 3 * 1024 * 1024;
    let (mut swarm, program, ours) = connect().await;
    let theirs = *swarm.local_peer_id();
    let ours: PeerId = ours.parse().expect("a peer id");
    while !swarm.is_connected(&ours) {
        swarm.select_next_some().await;
    }
    let echoes = (0..8).map(|number: u8| {
        let mut control = swarm.behaviour().stream.new_control();
        tokio::spawn(async move {
            let protocol = StreamProtocol::new("/ipfs/ping/1.0.0");
            let stream = control.open_stream(ours, protocol).await.expect("a stream");
            let (mut reader, mut writer) = stream.split();
            let sent: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8 ^ number).collect();
            let mut received = Vec::new();
            let write = async {
                writer.write_all(&sent).await.expect("a write");
                writer.close().await.expect("an end");
            };
            let (_, read) = futures::join!(write, reader.read_to_end(&mut received));
            read.expect("the answer");
            assert!(sent == received, "another answer on stream {number}");
        })
    });
    let echoes = futures::future::try_join_all(echoes.collect::<Vec<_>>());
    let mut program = Some(program);
    let ended = tokio::spawn(async move {
        echoes.await.expect("no panic");
        program.take()
    });
    let streams = async {
        tokio::pin!(ended);
        loop {
            tokio::select! {
                _ = swarm.select_next_some() => {}
                program = &mut ended => break program.expect("no panic").expect("the program"),
            }
        }
    };
    let program = timeout(PATIENCE, streams).await.expect("all answers");
    let (_, output) = run(swarm, program).await;
    assert!(output.contains(&format!("{theirs}: done")), "{output}");
}
