//! Idle members of a group.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::time::Duration;

use peerloop::group::Group;
use peerloop::{Config, ConnId, Handler, Net};

struct Idle;

impl Handler for Idle {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Adds members with the default settings, and runs the first turn of each.
pub(crate) fn group(members: u64) -> Result<(), Box<dyn Error>> {
    black_box(filled(members)?);
    Ok(())
}

fn filled(members: u64) -> Result<Group, Box<dyn Error>> {
    let mut group = Group::new()?;
    for _ in 0..members {
        group.add(Config::default(), Idle)?;
    }
    let _ = group.turn(Some(Duration::ZERO))?;
    Ok(group)
}

/// What each member adds to the process.
pub(crate) struct Grown {
    pub(crate) bytes: f64,
    pub(crate) page_faults: f64,
}

/// Measures this process, so nothing else may run in it.
pub(crate) fn grown_by_members(members: u64) -> Result<Grown, Box<dyn Error>> {
    let (bytes, faults) = (resident_bytes()?, page_faults()?);
    let group = filled(members)?;
    let grown = Grown {
        bytes: (resident_bytes()? - bytes) / members as f64,
        page_faults: (page_faults()? - faults) / members as f64,
    };
    drop(group);
    Ok(grown)
}

/// Returns the resident memory of this process, in bytes.
pub(super) fn resident_bytes() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let line = line.ok_or("/proc/self/status has no VmRSS")?;
    let kib = line.split_whitespace().next().unwrap_or_default();
    Ok(1024.0 * kib.parse::<f64>()?)
}

/// Returns the number of page faults without input or output: field 10 of
/// proc_pid_stat(5).
fn page_faults() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program, field 2, may contain spaces.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let faults = fields.split_whitespace().nth(7).unwrap_or_default();
    Ok(faults.parse()?)
}
