//! A measured job: a contestant that is set up and does an amount of work on
//! request.

use std::io;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How long anything may take before it counts as hung.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A contestant that is set up for one kind of work. Dropping it takes it down.
pub trait Job {
    /// Does this amount of the work, and returns what it has measured itself.
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>>;
}

/// Makes a contestant ready.
pub type SetUp = Box<dyn Fn() -> io::Result<Box<dyn Job>>>;

/// One figure.
pub type Value = (Metric, f64);

/// The meaning of a figure. Less is better in all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Metric {
    /// Nanoseconds from beginning to end, for one item of the work.
    Time,
    /// Nanoseconds of processor time of both sides together, for one item.
    Cpu,
    /// The median of single latencies, in nanoseconds.
    Median,
    /// The 99th percentile of single latencies, in nanoseconds.
    P99,
    /// Nanoseconds inside the calls that queue one item.
    Queueing,
    /// Nanoseconds until a node runs.
    Start,
    /// Nanoseconds until it is gone.
    Stop,
    /// Heap bytes for a connection that was never used.
    Idle,
    /// Heap bytes for a connection that is idle after it was used.
    IdleAfterUse,
}

impl Metric {
    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Cpu => "CPU",
            Self::Median => "median",
            Self::P99 => "p99",
            Self::Queueing => "queueing",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Idle => "idle",
            Self::IdleAfterUse => "idle after an echo",
        }
    }

    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Idle | Self::IdleAfterUse => "bytes",
            _ => "ns",
        }
    }
}

/// The two clocks that every job is measured with.
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self {
            cpu: cpu_time(),
            wall: Instant::now(),
        }
    }

    /// Time and processor time for each of so many items.
    pub fn read(&self, items: f64) -> Vec<Value> {
        let wall = self.wall.elapsed();
        let cpu = cpu_time().saturating_sub(self.cpu);
        vec![
            (Metric::Time, wall.as_nanos() as f64 / items),
            (Metric::Cpu, cpu.as_nanos() as f64 / items),
        ]
    }
}

/// The processor time of all threads of this process so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// An error with a text.
pub fn failed(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

/// An error unless something came within the bound.
pub fn in_time(begun: Instant, what: &str) -> io::Result<()> {
    if begun.elapsed() < PATIENCE {
        Ok(())
    } else {
        Err(failed(format!("{what} did not come within {PATIENCE:?}")))
    }
}
