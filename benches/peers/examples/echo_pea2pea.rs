//! An echo server on pea2pea, whose size and build time are compared.

use std::net::SocketAddr;

use bytes::BytesMut;
use pea2pea::protocols::{Reading, Writing};
use pea2pea::{Config, ConnectionSide, Node, Pea2Pea};
use tokio_util::codec::LengthDelimitedCodec;

#[derive(Clone)]
struct Echo(Node);

impl Pea2Pea for Echo {
    fn node(&self) -> &Node {
        &self.0
    }
}

impl Reading for Echo {
    type Message = BytesMut;
    type Codec = LengthDelimitedCodec;

    fn codec(&self, _: SocketAddr, _: ConnectionSide) -> Self::Codec {
        LengthDelimitedCodec::new()
    }

    async fn process_message(&self, source: SocketAddr, message: BytesMut) {
        let _ = self.unicast_fast(source, message.freeze());
    }
}

impl Writing for Echo {
    type Message = bytes::Bytes;
    type Codec = LengthDelimitedCodec;

    fn codec(&self, _: SocketAddr, _: ConnectionSide) -> Self::Codec {
        LengthDelimitedCodec::new()
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let echo = Echo(Node::new(Config::default()));
    echo.enable_reading().await;
    echo.enable_writing().await;
    println!("{:?}", echo.node().toggle_listener().await?);
    std::future::pending().await
}
