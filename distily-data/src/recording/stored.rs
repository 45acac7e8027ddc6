use super::encoder::Encoded;
use super::manifest::Manifest;
use super::shard::Shard;
use super::{RecordingConfig, RecordingError};
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The shards of a recording, and where each row is in them.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) folder: PathBuf,
    pub(super) config: RecordingConfig,
    shards: Vec<Shard>,
    rows: HashMap<[u8; 32], Place>,
}

/// Where a row is: a large one goes on in the shards that follow, as the first of their rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    shard: usize,
    row: usize,
    /// The last of its shards.
    last: usize,
}

impl Stored {
    pub(super) fn open(folder: &Path, manifest: &Manifest) -> Result<Self, RecordingError> {
        let mut stored = Self {
            folder: folder.to_owned(),
            config: manifest.recording.clone(),
            shards: Vec::with_capacity(manifest.shards.len()),
            rows: HashMap::new(),
        };
        // Tokens of the last row so far.
        let mut tokens = 0;
        for (number, record) in manifest.shards.iter().enumerate() {
            let shard = Shard::open(folder, number, &manifest.recording, record)?;
            for (row, &key) in shard.keys.iter().enumerate() {
                let begins = row > 0 || record.row_start == 0;
                if begins {
                    tokens = 0;
                    let place = Place {
                        shard: number,
                        row,
                        last: number,
                    };
                    stored.rows.insert(key, place);
                } else {
                    let goes_on = record.row_start == tokens && stored.last_key() == Some(&key);
                    let place = stored.rows.get_mut(&key).filter(|_| goes_on);
                    let problem = "does not go on with the last row of the shard before";
                    let place = place.ok_or_else(|| shard.damaged(row, problem))?;
                    place.last = number;
                }
                tokens += shard.tokens(row);
            }
            stored.shards.push(shard);
        }
        Ok(stored)
    }

    /// The key of the last row.
    fn last_key(&self) -> Option<&[u8; 32]> {
        self.shards.last()?.keys.last()
    }

    /// How many different rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Where the row of a key is.
    pub(super) fn place(&self, key: &[u8; 32]) -> Option<Place> {
        self.rows.get(key).copied()
    }

    /// A row as it was encoded, and undamaged.
    pub(super) fn row(&self, place: Place) -> Result<Encoded, RecordingError> {
        let mut encoded = self.shards[place.shard].row(place.row)?;
        for shard in &self.shards[place.shard + 1..=place.last] {
            encoded.append(shard.row(0)?);
        }
        Ok(encoded)
    }

    /// What is wrong with a row.
    pub(super) fn damaged(&self, place: Place, problem: String) -> RecordingError {
        self.shards[place.shard].damaged(place.row, problem)
    }

    /// Compares all rows with their hashes.
    pub(super) fn check(&self) -> Result<(), RecordingError> {
        self.shards.par_iter().try_for_each(Shard::check)
    }
}
