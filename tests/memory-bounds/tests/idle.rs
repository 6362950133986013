//! The memory that idle nodes touch. It is that of the process, so this is the
//! only test here.

use std::fs;
use std::time::Duration;

use memory_bounds::KIB;
use peerloop::group::Group;
use peerloop::{Config, ConnId, Handler, Net};

struct Idle;

impl Handler for Idle {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

const MEMBERS: usize = 1000;
const PAGE: usize = 4096;

/// Returns the resident pages of this process: field 2 of proc_pid_statm(5).
fn resident_pages() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("a file of Linux");
    let pages = statm.split_whitespace().nth(1);
    pages.expect("a field").parse().expect("a number")
}

/// Returns the number of page faults without input or output: field 10 of
/// proc_pid_stat(5).
fn page_faults() -> usize {
    let stat = fs::read_to_string("/proc/self/stat").expect("a file of Linux");
    // The name of the program, field 2, may contain spaces.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let faults = fields.split_whitespace().nth(7);
    faults.expect("a field").parse().expect("a number")
}

#[test]
fn idle_member_touches_less_than_16_kib() {
    let (pages, faults) = (resident_pages(), page_faults());
    let mut group = Group::new().expect("a group");
    let mut handles = Vec::with_capacity(MEMBERS);
    for _ in 0..MEMBERS {
        let member = group.add(Config::default(), Idle).expect("a member");
        handles.push(group.handle(member).expect("a member"));
    }
    let grown = |group: &mut Group, what: &str| {
        let _ = group.turn(Some(Duration::ZERO)).expect("a turn");
        let bytes = (resident_pages() - pages) * PAGE / MEMBERS;
        println!(
            "{what}: {bytes} bytes and {} page faults of 1,000 members",
            page_faults() - faults
        );
        (bytes, page_faults() - faults)
    };
    let (bytes, faults) = grown(&mut group, "idle");
    assert!(bytes < 16 * KIB, "{bytes} bytes for each member");
    assert!(faults < 4 * MEMBERS, "{faults} page faults");
    // The queue of commands grows with what is in it.
    for handle in &handles {
        handle.post(|_, _| ()).expect("there is room");
    }
    let (bytes, _) = grown(&mut group, "after a command");
    assert!(bytes < 16 * KIB, "{bytes} bytes for each member");
}
