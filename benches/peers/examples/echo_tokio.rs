//! An echo server on tokio's `Framed`, whose size and build time are compared.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut wire = Framed::new(stream, LengthDelimitedCodec::new());
            while let Some(Ok(message)) = wire.next().await {
                if wire.send(message.freeze()).await.is_err() {
                    break;
                }
            }
        });
    }
}
