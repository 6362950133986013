//! Measures the heap of idle connections. Its arguments are a contestant and a
//! number of connections, its output is bytes per connection. `peers` runs it as
//! another program, because an allocator that counts would change the times.

use std::process::ExitCode;

use peak_alloc::PeakAlloc;
use peers::heap::measure;
use peers::on::Contestant;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let contestant = |name: &String| Contestant::ALL.into_iter().find(|one| one.name() == name);
    let (Some(contestant), Some(connections)) = (
        words.first().and_then(contestant),
        words.get(1).and_then(|word| word.parse().ok()),
    ) else {
        eprintln!("usage: peers-heap CONTESTANT CONNECTIONS");
        return ExitCode::FAILURE;
    };
    match measure(contestant, connections, || HEAP.current_usage()) {
        Ok((idle, after)) => {
            println!("{idle} {after}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("peers-heap: {error}");
            ExitCode::FAILURE
        }
    }
}
