//! Packs documents of given lengths into rows, and says as JSON what that took: our side of
//! `compare/packing.py`.
//!
//! ```sh
//! cargo run --release -p distily-benches --example packing -- LENGTHS ROW
//! ```
//!
//! LENGTHS is a file of u32, little-endian, such as `lengths.bin` of a token cache.
#![allow(clippy::print_stdout)]

use distily::data::Packing;
use distily::kernels::TrainingAllocator;
use std::error::Error;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let bytes = std::fs::read(arguments.next().ok_or("LENGTHS is missing")?)?;
    let row: u32 = arguments.next().ok_or("ROW is missing")?.parse()?;
    let words = bytes.as_chunks::<4>().0;
    let lengths: Vec<u32> = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
    let start = Instant::now();
    let packed = Packing::BestFit.pack(&lengths, row);
    let seconds = start.elapsed().as_secs_f64();
    println!(r#"{{"seconds": {seconds}, "rows": {}}}"#, packed.rows());
    Ok(())
}
