//! Peers that are raw byte streams.

use super::*;

#[test]
fn wire_writes_and_reads_bytes() {
    let mut world = calm(1);
    let (server, _) = pair(&mut world);
    let addr = world.addr(server);
    let wire = world.wire(addr).expect("a port is free");
    assert_eq!(
        world.write_wire(wire, b"x").map_err(|it| it.kind()),
        Err(io::ErrorKind::WouldBlock)
    );
    until(&mut world, server, |it| it.connected.len() == 1);
    for piece in [&b"\0\0"[..], b"\0\x02h", b"i"] {
        assert_eq!(world.write_wire(wire, piece).ok(), Some(piece.len()));
        world.run_for(Duration::from_millis(10));
    }
    let mut read = Vec::new();
    assert!(!world.read_wire(wire, &mut read).expect("it is well"));
    assert_eq!(read, b"\0\0\0\x02hi");
    // Longer than any frame may be.
    assert_eq!(world.write_wire(wire, &[0xff; 8]).ok(), Some(8));
    world.run_for(Duration::from_secs(1));
    let too_large = |it: &mut Plain, _: &mut Net| {
        matches!(it.ended[..], [DisconnectReason::MessageTooLarge { .. }])
    };
    assert!(world.with(server, too_large));
    // The server had read all of it, so its end is an end and no reset.
    assert!(world.read_wire(wire, &mut read).expect("it is well"));
}

#[test]
fn wire_resets_and_shuts_down() {
    let mut world = calm(1);
    let (server, client) = pair(&mut world);
    let addr = world.addr(server);
    for (finish, reason) in [
        (true, DisconnectReason::Truncated { bytes: 2 }),
        (false, DisconnectReason::Reset),
    ] {
        let wire = world.wire(addr).expect("a port is free");
        world.run_for(Duration::from_millis(10));
        assert_eq!(world.write_wire(wire, b"\0\0").ok(), Some(2));
        if finish {
            world.shutdown_wire(wire).expect("it is established");
        } else {
            world.reset_wire(wire);
        }
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.with(server, |it, _| it.ended.pop()), Some(reason));
    }
    let listener = world.wire_listener(0);
    begin(&mut world, client, listener.addr());
    world.run_for(Duration::from_millis(10));
    let wire = world
        .accept_wire(listener)
        .expect("the client has connected");
    assert!(world.is_wire_connected(wire));
    world.close_wire(wire);
    world.run_for(Duration::from_millis(10));
    world.with(client, |it, _| {
        assert_eq!(it.ended, [DisconnectReason::PeerClosed])
    });
}
