//! An echo server on message-io, whose size and build time are compared.

use message_io::network::{NetEvent, Transport};
use message_io::node;

fn main() -> std::io::Result<()> {
    let (handler, listener) = node::split::<()>();
    let network = handler.network();
    println!("{}", network.listen(Transport::FramedTcp, "127.0.0.1:0")?.1);
    listener.for_each(|event| {
        if let NetEvent::Message(from, message) = event.network() {
            handler.network().send(from, message);
        }
    });
    Ok(())
}
