use super::*;

const OTHERS: usize = 100;
const ROUNDS: usize = 30;

/// Sends at full speed and reads the answers, until it is disconnected.
fn flood(addr: SocketAddr) -> TcpStream {
    let peer = connect_from([127, 0, 0, 3].into(), addr);
    let mut writer = peer.try_clone().expect("a descriptor");
    let mut reader = peer.try_clone().expect("a descriptor");
    let messages = frame(&[3; 1000]).repeat(64);
    std::thread::spawn(move || while writer.write_all(&messages).is_ok() {});
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * KIB];
        while reader.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    peer
}

/// How many turns the node makes until each of the others has its answer, the 99th
/// percentile of all rounds.
fn turns_to_answer(attacked: &mut Attacked, peers: &mut [TcpStream]) -> u64 {
    let mut turns = Vec::new();
    for _ in 0..ROUNDS {
        for peer in &mut *peers {
            peer.write_all(&frame(b"a request")).expect("room");
        }
        let before = attacked.node.net().metrics().turns;
        let mut waiting: Vec<&mut TcpStream> = peers.iter_mut().collect();
        attacked.until("all are answered", |node| {
            let took = node.net().metrics().turns - before;
            let all = waiting.len();
            waiting.retain_mut(|peer| !has_answer(peer));
            turns.extend(std::iter::repeat_n(took, all - waiting.len()));
            waiting.is_empty()
        });
    }
    turns.sort_unstable();
    turns[turns.len() * 99 / 100]
}

fn has_answer(peer: &mut TcpStream) -> bool {
    let mut answer = [0; 13];
    match peer.read(&mut answer) {
        Ok(count) => count == answer.len() && answer[4..] == *b"a request",
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
            false
        }
    }
}

#[test]
fn fast_sender_leaves_a_hundred_others_answered() {
    // The answers may be late because of other load on this machine, but not three
    // times in a row.
    let alone = Alone::begin();
    let mut measured = Vec::new();
    for _ in 0..3 {
        let mut attacked = Attacked::new(Config::default(), echo);
        let mut peers: Vec<TcpStream> = (0..OTHERS)
            .map(|number| connect_from(loopback(number as u64), attacked.addr))
            .collect();
        for peer in &peers {
            peer.set_nonblocking(true).expect("a socket");
        }
        attacked.until("the others are in", |node| {
            node.net().connection_count() == OTHERS + 1
        });
        let quiet = turns_to_answer(&mut attacked, &mut peers);
        let flooder = flood(attacked.addr);
        attacked.until("the flood is there", |node| {
            node.net().metrics().read_budget_hits > 0 || node.handler().messages > 20_000
        });
        let before = attacked.node.handler().messages;
        let flooded = turns_to_answer(&mut attacked, &mut peers);
        let messages = attacked.node.handler().messages - before;
        let was_flooded = messages > 2 * (OTHERS * ROUNDS) as u64;
        flooder
            .shutdown(std::net::Shutdown::Both)
            .expect("a socket");
        drop((flooder, peers));
        attacked.end(OTHERS as u64);
        alone.assert_below(16 * MIB);
        measured.push((quiet, flooded, messages));
        if was_flooded && flooded <= 5 * quiet {
            println!("turns until the answer, quiet and flooded, and messages then: {measured:?}");
            return;
        }
    }
    panic!("turns until the answer, quiet and flooded, and messages then: {measured:?}");
}
