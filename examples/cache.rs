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
use distily::data::TokenCache;
use distily::models::DecoderConfig;
use distily_examples::{Config, Documents};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Looks after a cache of tokens.
#[derive(Parser)]
enum Arguments {
    /// Lists the entries of a cache, with their sizes in bytes.
    List {
        /// The cache's folder.
        cache: PathBuf,
    },
    /// Compares all bytes of a cache with their hashes.
    Verify {
        /// The cache's folder.
        cache: PathBuf,
    },
    /// Removes all that no configuration names from the caches of some.
    Gc {
        /// The configurations.
        #[arg(required = true)]
        configs: Vec<PathBuf>,
        /// The folder of the data's files, which the configurations name relative to it.
        #[arg(long, default_value = ".")]
        data: PathBuf,
    },
}

fn main() -> Result<()> {
    match Arguments::parse() {
        Arguments::List { cache } => list(&TokenCache::new(cache)),
        Arguments::Verify { cache } => verify(&TokenCache::new(cache)),
        Arguments::Gc { configs, data } => gc(&configs, &data),
    }
}

fn list(cache: &TokenCache) -> Result<()> {
    let entries = cache.entries()?;
    for entry in &entries {
        println!("{}  {:>14}", entry.key, entry.bytes);
    }
    let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    println!("{} entries of {bytes} bytes", entries.len());
    Ok(())
}

fn verify(cache: &TokenCache) -> Result<()> {
    let (entries, mut damaged) = (cache.entries()?, 0);
    for entry in &entries {
        if let Err(problem) = cache.verify(entry.key) {
            println!("{problem}");
            damaged += 1;
        }
    }
    anyhow::ensure!(damaged == 0, "{damaged} of {} entries", entries.len());
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
        kept.entry(cache).or_insert_with(Vec::new).extend(keys);
    }
    for (cache, keys) in kept {
        let freed = TokenCache::new(&cache).gc(&keys)?;
        println!("{}: {freed} bytes freed", cache.display());
    }
    Ok(())
}
