//! A peerloop node with a Noise session, and a pea2pea node that uses snow.
#![forbid(unsafe_code)]

use std::error::Error;
use std::sync::Arc;

use interop::in_time;
use interop::node::{Exchange, LoopNode, Report};
use interop::noise::{NoiseWire, Protocol};
use interop::pea::{Outgoing, Pea};
use interop::plan::{Plan, seed};
use pea2pea::Pea2Pea;
use pea2pea::protocols::Handshake;
use peerloop::error::SessionError;
use peerloop::noise::{Noise, Pattern, StaticKey};
use peerloop::session::Role;
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, Direction, DisconnectReason, Handler, Net, TimerId,
    Transport,
};

const MESSAGES: usize = 2_000;
const LONGEST: usize = 100_000;
const PAYLOAD: &[u8] = b"from peerloop";
const PSK: [u8; 32] = [5; 32];

fn key_of_pea() -> StaticKey {
    StaticKey::from_secret([1; 32])
}

fn key_of_loop() -> StaticKey {
    StaticKey::from_secret([2; 32])
}

fn xx() -> Protocol {
    Protocol {
        name: "Noise_XX_25519_ChaChaPoly_BLAKE2s",
        key: Arc::new(key_of_pea()),
        psk: None,
    }
}

fn xx_psk3() -> Protocol {
    Protocol {
        name: "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s",
        psk: Some(PSK),
        ..xx()
    }
}

/// An exchange of messages behind a Noise session.
struct NoiseExchange {
    psk: Option<[u8; 32]>,
    exchange: Exchange,
    /// The public key of the peer.
    proved: Option<Vec<u8>>,
}

impl Handler for NoiseExchange {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        let key = key_of_loop();
        let mut noise = Noise::new(Pattern::XX, Role::from(info.direction))
            .local_key(&key)
            .payload(PAYLOAD);
        if let Some(psk) = &self.psk {
            noise = noise.psk(3, psk);
        }
        Ok(noise.build()?.into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let identity = net.connection(conn).and_then(|conn| conn.identity());
        self.proved = identity.and_then(|identity| identity.public_key.clone());
        self.exchange.on_connect(net, conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.exchange.on_message(net, conn, message);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.exchange.on_drain(net, conn);
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        self.exchange.on_connect_failed(net, conn, info, error);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.exchange.on_disconnect(net, conn, reason);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        self.exchange.on_timer(net, timer, key);
    }
}

/// Connects both nodes and exchanges messages in both directions. Then the
/// pea2pea node sends `last` and disconnects. Returns the reason that peerloop
/// reports. `direction` is that of peerloop.
async fn exchange(
    protocol: Protocol,
    direction: Direction,
    last: Option<Outgoing>,
) -> DisconnectReason {
    let seed = seed();
    let from_pea = Plan::new(seed, MESSAGES, LONGEST);
    let from_loop = Plan::new(!seed, MESSAGES, LONGEST);
    let psk = protocol.psk;
    let (wire, mut proofs) = NoiseWire::new(protocol);
    let (pea, mut events) = Pea::start(wire).await;
    pea.enable_handshake().await;
    let (exchange, mut reports) = Exchange::new(from_loop.clone(), from_pea.clone());
    let handler = NoiseExchange {
        psk,
        exchange,
        proved: None,
    };
    let node = LoopNode::start(Config::default(), handler);
    match direction {
        Direction::Outbound => {
            node.connect(pea.listen().await);
        }
        Direction::Inbound => pea.connect(node.listen()).await,
    }
    let there = events.connection().await;
    let _ = reports.connection().await;
    let proof = in_time("a proof", proofs.recv()).await;
    let expected = (key_of_loop().public().to_vec(), PAYLOAD.to_vec());
    assert_eq!(proof, Some(expected));
    let proved = node.ask(|handler, _| handler.proved.clone());
    assert_eq!(proved.as_deref(), Some(&key_of_pea().public()[..]));

    let sending = {
        let pea = pea.clone();
        tokio::spawn(async move { pea.send_all(there, from_pea).await })
    };
    events.receive(there, from_loop).await;
    in_time("all to be sent", sending).await.expect("it sends");
    assert_eq!(reports.report().await, Report::Complete);

    if let Some(last) = last {
        pea.send(there, last).await;
    }
    pea.node().disconnect(there).await;
    match reports.report().await {
        Report::Disconnected(reason) => reason,
        other => panic!("{other:?} instead of an end"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pea2pea_with_noise_exchanges_in_both_roles() {
    for protocol in [xx(), xx_psk3()] {
        for direction in [Direction::Outbound, Direction::Inbound] {
            let last = Some(Outgoing::CloseNotify);
            let reason = exchange(protocol.clone(), direction, last).await;
            assert_eq!(reason, DisconnectReason::PeerClosed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_close_notify_of_pea2pea_truncates() {
    let reason = exchange(xx(), Direction::Inbound, None).await;
    let truncated = DisconnectReason::Session(SessionError::Truncated);
    assert_eq!(reason, truncated);
}
