//! The CPU seconds and the time of the example and of aria2, from the same seeds.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use interop::PATIENCE;
use interop::programs::{Running, free_port};

use crate::clients::{aria2, example, transmission};
use crate::torrents::{Folder, NAME, assert_same, make};
use crate::tracker;

const LEN: usize = 1_000_000_000;

/// CPU seconds and seconds.
type Cost = (f64, f64);

/// Starts two seeds and the client of `command`, which gets their ports. Kills a
/// seed when half of the file has arrived.
fn run(
    folder: &Folder,
    torrent: &Path,
    copy: &Path,
    command: impl FnOnce(Vec<u16>) -> Command,
) -> Cost {
    // A virtual machine returns free memory to its host, and writing to such memory
    // takes longer than all the rest. This file gives its memory to the copy.
    let warm = folder.path("warm");
    let mut file = File::create(&warm).expect("a file");
    for _ in 0..LEN / 1_000_000 {
        file.write_all(&[1; 1_000_000]).expect("room on the disk");
    }

    let (_first, first_port, _) = transmission(folder, torrent);
    let (second, second_port, _) = transmission(folder, torrent);
    let mut second = Some(second);
    let begun = Instant::now();
    let client = Running::start(&mut command(vec![first_port, second_port]));
    loop {
        let stat = format!("/proc/{}/stat", client.0.id());
        let stat = fs::read_to_string(stat).expect("proc(5)");
        // The process has ended, and its times can still be read.
        if stat.contains(") Z ") {
            break;
        }
        // Blocks of stat(2) have 512 bytes.
        let arrived = fs::metadata(copy).map_or(0, |it| it.blocks() * 512);
        file.set_len((LEN as u64).saturating_sub(arrived))
            .expect("a file");
        assert!(begun.elapsed() < 5 * PATIENCE, "the client takes too long");
        if arrived >= LEN as u64 / 2 {
            drop(second.take());
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(second.is_none(), "no seed was killed");
    let cost = (client.cpu_seconds(), begun.elapsed().as_secs_f64());
    assert_same(&folder.path(NAME), copy);
    for file in [copy, &warm] {
        fs::remove_file(file).expect("a file");
    }
    cost
}

#[test]
#[ignore = "takes minutes and 2 GB of disk"]
fn example_costs_no_more_than_aria2() {
    if !crate::are_installed(&["transmission-daemon", "transmission-remote", "aria2c"]) {
        return;
    }
    let (folder, copies) = (Folder::new("comparison"), Folder::new("copies"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    // The seeds must not know the tracker, so that they do not connect.
    let for_seeds = make(&folder, LEN, free_port());
    let port = listener.local_addr().expect("an address").port();
    let copy = copies.path(NAME);

    let theirs = run(&folder, &for_seeds, &copy, |ports| {
        tracker::serve(listener, ports);
        let tracker = format!("--bt-tracker=http://127.0.0.1:{port}/announce");
        let options = [tracker.as_str(), "--bt-exclude-tracker=*", "--seed-time=0"];
        aria2(&copies.0, &for_seeds, free_port(), &options)
    });
    let ours = run(&folder, &for_seeds, &copy, |ports| {
        let mut command = example();
        command.arg("fetch").args([&for_seeds, &copy]);
        command.args(ports.into_iter().map(|port| format!("127.0.0.1:{port}")));
        command
    });

    println!("1 GB from two seeds, one of which is killed in the middle");
    println!("| client | CPU seconds | seconds |");
    println!("|---|---|---|");
    for (name, (cpu, wall)) in [("examples/torrent", ours), ("aria2", theirs)] {
        println!("| {name} | {cpu:.2} | {wall:.1} |");
    }
    assert!(ours.0 <= theirs.0, "more CPU seconds than aria2");
    assert!(ours.1 <= 1.1 * theirs.1, "slower than aria2");
}
