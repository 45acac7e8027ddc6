//! From text to a token cache against the bare tokenizer, and how long it takes to find a batch.
//!
//! ```sh
//! cargo run --release -p distily-benches --example tokens -- TEXT TOKENIZER.json [PAIRS]
//! ```
//!
//! Documents are the lines of TEXT. The sides run alternately, after one pair that does not count.
#![allow(clippy::print_stdout)]

use distily::core::Seed;
use distily::data::{DocumentEncoder, Packing, Permutation, TextTokenizer, TokenCache, TokenRows};
use distily::kernels::TrainingAllocator;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;
use tokenizers::Tokenizer;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let text = std::fs::read_to_string(arguments.next().ok_or("TEXT is missing")?)?;
    let tokenizer = PathBuf::from(arguments.next().ok_or("TOKENIZER.json is missing")?);
    let pairs: usize = arguments.next().as_deref().unwrap_or("10").parse()?;
    let texts: Vec<String> = text.lines().map(str::to_owned).collect();
    let bare = Tokenizer::from_file(&tokenizer).map_err(|problem| problem.to_string())?;
    let encoder = DocumentEncoder::new(TextTokenizer::load(&tokenizer)?);

    let (mut bare_seconds, mut cache_seconds, mut again_seconds) = (vec![], vec![], vec![]);
    for pair in 0..=pairs {
        // Neither side is paid for what the tokenizer remembers of the run before.
        let bare = bare.clone();
        let encoder = encoder.clone();
        let folder = tempfile::tempdir()?;
        let cache = TokenCache::new(folder.path());

        let documents: Vec<&str> = texts.iter().map(String::as_str).collect();
        let start = Instant::now();
        let encodings = bare
            .encode_batch_fast(documents, false)
            .map_err(|problem| problem.to_string())?;
        let bare_took = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let tokens = cache.tokens(texts.as_slice(), &encoder)?;
        let cache_took = start.elapsed().as_secs_f64();
        let start = Instant::now();
        cache.tokens(texts.as_slice(), &encoder)?;
        let again_took = start.elapsed().as_secs_f64();

        let count: usize = encodings
            .iter()
            .map(|encoding| encoding.get_ids().len())
            .sum();
        assert_eq!(count as u64, tokens.len(), "both encode the same");
        if pair == 0 {
            let bytes = cache.entries()?[0].bytes;
            println!(
                "{} documents, {count} tokens, {bytes} bytes: {:.4} bytes per token",
                texts.len(),
                bytes as f64 / count as f64
            );
        } else {
            bare_seconds.push(bare_took);
            cache_seconds.push(cache_took);
            again_seconds.push(again_took);
        }
        if pair == pairs {
            seek(TokenRows::pack(tokens, Packing::BestFit, 512)?)?;
        }
    }
    let ratios = bare_seconds.iter().zip(&cache_seconds);
    println!(
        "bare {:.3} s, to the cache {:.3} s, from the cache {:.4} s; {:.3} times the bare speed",
        median(bare_seconds.clone()),
        median(cache_seconds.clone()),
        median(again_seconds),
        median(ratios.map(|(bare, cache)| bare / cache).collect()),
    );
    Ok(())
}

/// What it takes to find any batch.
fn seek(rows: TokenRows) -> Result<(), Box<dyn Error>> {
    let batches = rows.batches(8);
    let mut seconds = Vec::new();
    for epoch in 0..1000 {
        let index = (epoch as usize * 7919) % batches.per_epoch();
        let start = Instant::now();
        std::hint::black_box(batches.at(Seed(1), epoch, index)?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    let first = seconds[0];
    println!(
        "{} rows of 512: the first batch of 8 in {:.1} us, any other in {:.1} us",
        rows.len(),
        1e6 * first,
        1e6 * median(seconds)
    );
    let mut seconds = Vec::new();
    for epoch in 0..1000 {
        let start = Instant::now();
        let order = Permutation::new(Seed(1), epoch, 100_000_000);
        std::hint::black_box(order.at(99_999_999 - epoch));
        seconds.push(start.elapsed().as_secs_f64());
    }
    let slowest = seconds.iter().copied().fold(0.0, f64::max);
    println!(
        "a place in an epoch of 10^8: {:.2} us, at most {:.2} us",
        1e6 * median(seconds),
        1e6 * slowest
    );
    Ok(())
}
