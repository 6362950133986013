//! tokio without a library on top: `Framed` with `LengthDelimitedCodec` on a
//! `TcpStream`, a task for each end.

pub mod cycles;
pub mod line;
pub mod stream;
pub mod trips;

use std::io;
use std::net::SocketAddr;

use ::tokio::net::{TcpListener, TcpStream};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::support::failed;

type Wire = Framed<TcpStream, LengthDelimitedCodec>;

fn framed(stream: TcpStream) -> io::Result<Wire> {
    stream.set_nodelay(true)?;
    Ok(Framed::new(stream, LengthDelimitedCodec::new()))
}

async fn listener() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await
}

/// Returns both ends of a new connection, the outbound one first.
async fn pair(listener: &TcpListener) -> io::Result<(Wire, Wire)> {
    let outbound = TcpStream::connect(listener.local_addr()?).await?;
    let (accepted, _) = listener.accept().await?;
    Ok((framed(outbound)?, framed(accepted)?))
}

/// Returns the next message, and an error at the end of the stream.
async fn next(wire: &mut Wire) -> io::Result<BytesMut> {
    let message = wire.next().await;
    message.unwrap_or_else(|| Err(failed("the stream ended")))
}

/// `Framed` is a sink for `Bytes` and for others. This names one of them.
async fn flush(wire: &mut Wire) -> io::Result<()> {
    SinkExt::<Bytes>::flush(wire).await
}

/// Answers every message with itself. All answers to one read are one write.
async fn answer(mut wire: Wire) -> io::Result<()> {
    loop {
        let message = next(&mut wire).await?;
        wire.feed(message.freeze()).await?;
        if wire.read_buffer().is_empty() {
            flush(&mut wire).await?;
        }
    }
}

/// Answers each inbound connection in a task. Returns the address.
pub async fn serve() -> io::Result<SocketAddr> {
    let listener = listener().await?;
    let addr = listener.local_addr()?;
    ::tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            ::tokio::spawn(async { answer(framed(stream)?).await });
        }
    });
    Ok(addr)
}
