//! The weight of a dependency: the same echo server on each library, built from
//! an empty target folder with the versions of this package's lock file.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::on::Contestant;
use crate::support::failed;
use crate::table::{bytes, header, line};

const LOCK: &str = include_str!("../Cargo.lock");

/// The program of a contestant, and its dependencies.
struct Program {
    contestant: Contestant,
    source: &'static str,
    dependencies: &'static str,
}

const PROGRAMS: [Program; 4] = [
    Program {
        contestant: Contestant::Peerloop,
        source: include_str!("../examples/echo_peerloop.rs"),
        dependencies: concat!(
            "peerloop = { path = '",
            env!("CARGO_MANIFEST_DIR"),
            "/../..' }\n"
        ),
    },
    Program {
        contestant: Contestant::Pea2pea,
        source: include_str!("../examples/echo_pea2pea.rs"),
        dependencies: "bytes = '1'\npea2pea = '0.57'\n\
             tokio = { version = '1', features = ['macros', 'rt-multi-thread'] }\n\
             tokio-util = { version = '0.7', features = ['codec'] }\n",
    },
    Program {
        contestant: Contestant::MessageIo,
        source: include_str!("../examples/echo_message_io.rs"),
        dependencies: "message-io = { version = '0.19', default-features = false, features = ['tcp'] }\n",
    },
    Program {
        contestant: Contestant::Tokio,
        source: include_str!("../examples/echo_tokio.rs"),
        dependencies: "futures-util = { version = '0.3', default-features = false, features = ['sink'] }\n\
             tokio = { version = '1', features = ['macros', 'net', 'rt-multi-thread'] }\n\
             tokio-util = { version = '0.7', features = ['codec'] }\n",
    },
];

struct Footprint {
    crates: usize,
    build: Duration,
    size: u64,
}

/// Builds the programs in a folder beside this program. Returns a table.
pub fn table() -> io::Result<String> {
    let folder = env::current_exe()?.with_file_name("footprint");
    let measured = PROGRAMS.iter().map(|program| program.measure(&folder));
    let measured: Vec<Footprint> = measured.collect::<io::Result<_>>()?;
    let names = PROGRAMS
        .each_ref()
        .map(|one| one.contestant.name().to_owned());
    let row = |cell: &dyn Fn(&Footprint) -> String| measured.iter().map(cell).collect::<Vec<_>>();
    let mut table = header(&names).replacen("work", "an echo server", 1);
    line(
        &mut table,
        "crates in its tree",
        &row(&|one| one.crates.to_string()),
    );
    let seconds = |one: &Footprint| format!("{:.0} s", one.build.as_secs_f64());
    line(&mut table, "release build of all of them", &row(&seconds));
    line(
        &mut table,
        "stripped program",
        &row(&|one| bytes(one.size as f64)),
    );
    Ok(table)
}

impl Program {
    fn measure(&self, folder: &Path) -> io::Result<Footprint> {
        let folder = folder.join(self.contestant.name().replace(['`', ' '], ""));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("src/main.rs"), self.source)?;
        fs::write(folder.join("Cargo.lock"), LOCK)?;
        let manifest = format!(
            "[package]\nname = 'echo'\nversion = '0.0.0'\nedition = '2024'\n\n\
             [profile.release]\nstrip = true\n\n[workspace]\n\n[dependencies]\n{}",
            self.dependencies
        );
        fs::write(folder.join("Cargo.toml"), manifest)?;
        let crates = crates(&folder)?;
        let begun = Instant::now();
        cargo(
            &folder,
            &["build", "--release", "--quiet", "--target-dir", "target"],
        )?;
        let build = begun.elapsed();
        let size = fs::metadata(folder.join("target/release/echo"))?.len();
        Ok(Footprint {
            crates,
            build,
            size,
        })
    }
}

/// Returns the number of crates that the program in a folder depends on.
fn crates(folder: &Path) -> io::Result<usize> {
    let arguments = [
        "tree",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--no-dedupe",
    ];
    let tree = cargo(folder, &arguments)?;
    let name_and_version = |line: &str| {
        let words = line.split(' ').take(2);
        words.collect::<Vec<_>>().join(" ")
    };
    let crates: BTreeSet<String> = tree.lines().map(name_and_version).collect();
    Ok(crates.len() - 1)
}

/// Runs cargo in a folder. Returns its standard output.
fn cargo(folder: &Path, arguments: &[&str]) -> io::Result<String> {
    let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    // The crates were downloaded to build this program.
    let mut command = Command::new(cargo);
    command.args(arguments).arg("--offline").current_dir(folder);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(failed(format!("cargo {arguments:?}: {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
