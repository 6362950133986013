//! Hosts of rust-libp2p on the other end.

mod support;

use std::net::SocketAddr;
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

/// A host of rust-libp2p, and what it knows of its peer.
struct Theirs {
    swarm: Swarm<Behaviour>,
    peer: Option<PeerId>,
    identify: Option<identify::Info>,
    pings: u32,
}

impl Theirs {
    fn new() -> Self {
        Self {
            swarm: swarm(),
            peer: None,
            identify: None,
            pings: 0,
        }
    }

    fn id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    async fn listen(&mut self) -> Multiaddr {
        let any = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
        self.swarm.listen_on(any).expect("a listener");
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = self.swarm.select_next_some().await {
                return address;
            }
        }
    }

    /// Connects to the program.
    fn connect(&mut self, addr: SocketAddr, ours: &str) {
        let addr = Multiaddr::from(addr.ip())
            .with(Protocol::Tcp(addr.port()))
            .with(Protocol::P2p(ours.parse().expect("a peer id")));
        self.swarm.dial(addr).expect("an address to connect to");
    }

    /// Waits for the next event.
    async fn next(&mut self) {
        match self.swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => self.peer = Some(peer_id),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                info,
                ..
            })) => self.identify = Some(info),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => {
                event.result.expect("an answer to a ping");
                self.pings += 1;
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
            SwarmEvent::IncomingConnectionError { error, .. } => panic!("{error}"),
            _ => {}
        }
    }

    /// Runs until both ends have all answers, ends the connection, and checks the
    /// answers.
    async fn finish(mut self, mut program: Program) -> identify::Info {
        let pause = Duration::from_millis(10);
        let both = async {
            while self.identify.is_none()
                || self.pings == 0
                || !program.has_printed(": ping 5: ")
                || !program.has_printed(" is rust-libp2p/")
            {
                // The output of the program is checked now and then.
                let _ = timeout(pause, self.next()).await;
            }
        };
        if timeout(PATIENCE, both).await.is_err() {
            panic!(
                "{:?}, {} pings, {}",
                self.identify, self.pings, program.output
            );
        }
        let peer = self.peer.expect("a connection");
        self.swarm.disconnect_peer_id(peer).expect("a connection");
        let mut ended = tokio::task::spawn_blocking(|| program.wait());
        let (status, output) = loop {
            tokio::select! {
                _ = self.next() => {}
                ended = &mut ended => break ended.expect("no panic"),
            }
        };
        assert!(status.success(), "{output}");
        let id = format!("connected with {}", self.id());
        for text in [&id, "supports /ipfs/ping/1.0.0", "supports /ipfs/id/1.0.0"] {
            assert!(output.contains(text), "no {text} in {output}");
        }
        let info = self.identify.expect("it is complete");
        assert_eq!(info.agent_version, "peerloop-libp2p");
        let protocols = ["/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"];
        assert_eq!(info.protocols, protocols.map(StreamProtocol::new));
        assert_eq!(PeerId::from(info.public_key.clone()), peer);
        info
    }
}

#[tokio::test]
async fn ours_connects_to_theirs() {
    let mut theirs = Theirs::new();
    let addr = theirs.listen().await;
    let Some(Protocol::Tcp(port)) = addr.iter().last() else {
        panic!("{addr}");
    };
    let target = format!("127.0.0.1:{port}/p2p/{}", theirs.id());
    let info = theirs.finish(Program::start(&["connect", &target])).await;
    assert!(info.listen_addrs.is_empty());
}

#[tokio::test]
async fn theirs_connects_to_ours() {
    let (program, addr, ours) = Program::listen();
    let mut theirs = Theirs::new();
    theirs.connect(addr, &ours);
    let info = theirs.finish(program).await;
    let listening = Multiaddr::from(addr.ip()).with(Protocol::Tcp(addr.port()));
    assert_eq!(info.listen_addrs, [listening]);
}

/// A host that is not the expected one.
#[tokio::test]
async fn ours_refuses_another_peer() {
    let mut theirs = Theirs::new();
    let addr = theirs.listen().await;
    let Some(Protocol::Tcp(port)) = addr.iter().last() else {
        panic!("{addr}");
    };
    let other = Theirs::new().id();
    let program = Program::start(&["connect", &format!("127.0.0.1:{port}/p2p/{other}")]);
    let mut ended = tokio::task::spawn_blocking(|| program.wait());
    let (status, output) = loop {
        tokio::select! {
            _ = theirs.swarm.select_next_some() => {}
            ended = &mut ended => break ended.expect("no panic"),
        }
    };
    assert!(!status.success());
    assert!(output.contains("another peer id than expected"), "{output}");
}

/// Eight streams send and receive 1 MiB each, four times the first window.
#[tokio::test]
async fn streams_exceed_their_windows() {
    const LEN: usize = 1024 * 1024;
    let (program, addr, ours) = Program::listen();
    let mut theirs = Theirs::new();
    theirs.connect(addr, &ours);
    let connected = async {
        while theirs.peer.is_none() {
            theirs.next().await;
        }
    };
    timeout(PATIENCE, connected).await.expect("a connection");
    let peer = theirs.peer.expect("a peer");
    let echoes = (0..8).map(|number: u8| {
        let mut control = theirs.swarm.behaviour().stream.new_control();
        async move {
            let protocol = StreamProtocol::new("/ipfs/ping/1.0.0");
            let stream = control.open_stream(peer, protocol).await;
            let (mut reader, mut writer) = stream.expect("a stream").split();
            let sent: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8 ^ number).collect();
            let mut received = Vec::new();
            let write = async {
                writer.write_all(&sent).await.expect("a write");
                writer.close().await.expect("an end");
            };
            let (_, read) = futures::join!(write, reader.read_to_end(&mut received));
            read.expect("the answer");
            assert!(sent == received, "another answer on stream {number}");
        }
    });
    let mut echoes = tokio::spawn(futures::future::join_all(echoes.collect::<Vec<_>>()));
    let all = async {
        loop {
            tokio::select! {
                _ = theirs.next() => {}
                ended = &mut echoes => break ended.expect("no panic"),
            }
        }
    };
    timeout(PATIENCE, all).await.expect("all answers");
    theirs.finish(program).await;
}
