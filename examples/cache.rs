//! Looks after a cache of tokens.
//!
//! ```sh
//! cargo run --release --example cache -- list runs/tokens
//! cargo run --release --example cache -- verify runs/tokens
//! cargo run --release --example cache -- gc examples/configs/smollm2-half.toml
//! ```
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result};
use clap::Parser;
use distily::data::{CacheEntry, TokenCache};
use distily::models::DecoderConfig;
use distily_examples::{Config, Documents};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Looks after a cache of tokens.
#[derive(Parser)]
enum Arguments {
    /// Lists the entries of a cache: key, bytes, documents and tokens.
    List {
        /// The cache's folder.
        cache: PathBuf,
    },
    /// Compares all bytes of a cache with their hashes.
    Verify {
        /// The cache's folder.
        cache: PathBuf,
    },
    /// Removes what these configurations do not name from their caches.
    Gc {
        /// All configurations whose tokens are to stay.
        #[arg(required = true)]
        configs: Vec<PathBuf>,
        /// The folder of the data's files, which the configurations name relative to it.
        #[arg(long, default_value = ".")]
        data: PathBuf,
    },
}

fn main() -> Result<()> {
    match Arguments::parse() {
        Arguments::List { cache } => list(&cache),
        Arguments::Verify { cache } => verify(&cache),
        Arguments::Gc { configs, data } => gc(&configs, &data),
    }
}

/// Those of a cache that is there.
fn entries(cache: &Path) -> Result<(TokenCache, Vec<CacheEntry>)> {
    anyhow::ensure!(cache.is_dir(), "there is no cache {}", cache.display());
    let cache = TokenCache::new(cache);
    let entries = cache.entries()?;
    Ok((cache, entries))
}

fn list(cache: &Path) -> Result<()> {
    let (cache, entries) = entries(cache)?;
    for CacheEntry { key, bytes } in &entries {
        match cache.open(*key) {
            Ok(Some(tokens)) => println!(
                "{key}  {bytes:>14} bytes  {:>10} documents  {:>13} tokens",
                tokens.documents(),
                tokens.len()
            ),
            Ok(None) => {}
            Err(problem) => println!("{key}  {bytes:>14} bytes  {problem}"),
        }
    }
    let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    println!("{} entries of {bytes} bytes", entries.len());
    Ok(())
}

fn verify(cache: &Path) -> Result<()> {
    let ((cache, entries), mut damaged) = (entries(cache)?, 0);
    for entry in &entries {
        if let Err(problem) = cache.verify(entry.key) {
            println!("{problem}");
            damaged += 1;
        }
    }
    anyhow::ensure!(
        damaged == 0,
        "{damaged} of {} entries are damaged",
        entries.len()
    );
    println!("{} entries are as they were written", entries.len());
    Ok(())
}

fn gc(configs: &[PathBuf], data: &Path) -> Result<()> {
    let mut kept = BTreeMap::new();
    for file in configs {
        let keys = || -> Result<_> {
            let config = Config::read(file)?;
            let folder = config.teacher.texts()?;
            let documents =
                Documents::open(&config, &folder, &DecoderConfig::load(&folder)?, data)?;
            Ok((documents.keys()?, config.data.cache))
        };
        let (keys, cache) = keys().with_context(|| file.display().to_string())?;
        // However it is written.
        let cache = cache.canonicalize().unwrap_or(cache);
        kept.entry(cache).or_insert_with(Vec::new).extend(keys);
    }
    for (cache, keys) in kept {
        let freed = TokenCache::new(&cache).gc(&keys)?;
        println!("{}: {freed} bytes freed", cache.display());
    }
    Ok(())
}
