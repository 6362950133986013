//! Prints the heap bytes of an idle connection of the contestant in its
//! argument. `peers` runs it.

use std::error::Error;

use peak_alloc::PeakAlloc;
use peers::heap::measure;
use peers::on::Contestant;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let contestant = Contestant::ALL.into_iter().find(|one| one.name() == name);
    let contestant = contestant.ok_or("usage: peers-heap CONTESTANT")?;
    println!("{}", measure(contestant, || HEAP.current_usage())?);
    Ok(())
}
