//! A tracker of BitTorrent (BEP 3 and, for compact peers, BEP 23).

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

/// Tells each client that asks that peers listen on these ports of 127.0.0.1. The
/// thread ends with the process.
pub(crate) fn serve(listener: TcpListener, ports: Vec<u16>) {
    thread::spawn(move || {
        for client in listener.incoming() {
            // A client that is gone needs no answer.
            let _ = client.and_then(|client| answer(client, &ports));
        }
    });
}

fn answer(client: TcpStream, ports: &[u16]) -> std::io::Result<()> {
    let mut lines = BufReader::new(&client).lines();
    while !lines.next().transpose()?.unwrap_or_default().is_empty() {}
    let peer = |port: &u16| {
        [
            Ipv4Addr::LOCALHOST.octets().to_vec(),
            port.to_be_bytes().to_vec(),
        ]
    };
    let peers = ports.iter().flat_map(peer).collect::<Vec<_>>().concat();
    let begin = format!("d8:intervali600e5:peers{}:", peers.len());
    let body = [begin.as_bytes(), &peers, b"e"].concat();
    let len = body.len();
    let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    (&client).write_all(&[header.as_bytes(), &body].concat())
}
