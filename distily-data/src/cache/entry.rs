use super::checked_file::{CheckedFile, HashingWriter, damaged};
use super::manifest::{FORMAT, Manifest};
use crate::encoder::EncodedDocument;
use crate::loss_mask::LossMask;
use crate::tokens::Layout;
use crate::{ContentHash, DataError};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";
const IDS: &str = "ids.bin";
const LENGTHS: &str = "lengths.bin";
const LOSS_MASK: &str = "loss_mask.bin";

/// Writes the files of an entry into an empty folder.
pub(super) struct EntryWriter {
    folder: PathBuf,
    id_bytes: usize,
    ids: HashingWriter,
    layout: Layout,
}

impl EntryWriter {
    /// Ids of two bytes, where the vocabulary allows it.
    pub(super) fn create(folder: &Path, vocabulary: usize) -> Result<Self, DataError> {
        let file = folder.join(IDS);
        Ok(Self {
            ids: HashingWriter::create(&file).map_err(DataError::io(&file))?,
            folder: folder.to_owned(),
            id_bytes: if vocabulary <= 1 << 16 { 2 } else { 4 },
            layout: Layout::default(),
        })
    }

    pub(super) fn push(&mut self, document: &EncodedDocument) -> Result<(), DataError> {
        let bytes: Vec<u8> = match self.id_bytes {
            2 => document
                .ids
                .iter()
                .flat_map(|&id| (id as u16).to_le_bytes())
                .collect(),
            _ => document
                .ids
                .iter()
                .flat_map(|&id| id.to_le_bytes())
                .collect(),
        };
        self.ids
            .write_all(&bytes)
            .map_err(DataError::io(&self.folder.join(IDS)))?;
        self.layout.push(document.ids.len(), &document.ignored)
    }

    /// Writes the rest, the manifest last.
    pub(super) fn finish(self, key: ContentHash) -> Result<(), DataError> {
        let Self {
            folder,
            id_bytes,
            ids,
            layout,
        } = self;
        let words = |name: &str, words: &[u32]| {
            let file = folder.join(name);
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            HashingWriter::create(&file)
                .and_then(|mut writer| writer.write_all(&bytes).and_then(|()| writer.finish()))
                .map_err(DataError::io(&file))
        };
        let mask = layout.mask.to_distances();
        let manifest = Manifest {
            format: FORMAT,
            key,
            id_bytes,
            documents: layout.lengths.len() as u64,
            tokens: layout.tokens,
            ids: ids.finish().map_err(DataError::io(&folder.join(IDS)))?,
            lengths: words(LENGTHS, &layout.lengths)?,
            loss_mask: (!mask.is_empty())
                .then(|| words(LOSS_MASK, &mask))
                .transpose()?,
        };
        let file = folder.join(MANIFEST);
        manifest.write(&file).map_err(DataError::io(&file))?;
        super::sync_folder(&folder).map_err(DataError::io(&folder))
    }
}

/// The ids of an entry.
#[derive(Debug)]
pub(crate) struct StoredIds {
    id_bytes: usize,
    file: CheckedFile,
}

impl StoredIds {
    /// Appends the ids of some tokens, which there are.
    pub(crate) fn read(&self, ids: &mut Vec<u32>, tokens: Range<u64>) -> Result<(), DataError> {
        let mut bytes = vec![0; (tokens.end - tokens.start) as usize * self.id_bytes];
        self.file
            .read(&mut bytes, tokens.start * self.id_bytes as u64)?;
        match self.id_bytes {
            2 => ids.extend(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&id| u32::from(u16::from_le_bytes(id))),
            ),
            _ => ids.extend(bytes.as_chunks().0.iter().map(|&id| u32::from_le_bytes(id))),
        }
        Ok(())
    }

    /// Compares all ids with their hashes.
    pub(super) fn check_all(&self) -> Result<(), DataError> {
        self.file.check_all()
    }
}

/// An entry whose manifest, lengths and loss mask are read and sound.
pub(super) struct Entry {
    pub(super) layout: Layout,
    pub(super) ids: StoredIds,
}

impl Entry {
    /// `None` if there is no such folder, be it that it was removed meanwhile.
    pub(super) fn open(folder: &Path, key: ContentHash) -> Result<Option<Self>, DataError> {
        match Self::read(folder, key) {
            Err(_) if !folder.try_exists().map_err(DataError::io(folder))? => Ok(None),
            Err(DataError::Io { file, source }) if source.kind() == io::ErrorKind::NotFound => {
                Err(damaged(&file, "is not there"))
            }
            read => read.map(Some),
        }
    }

    fn read(folder: &Path, key: ContentHash) -> Result<Self, DataError> {
        let manifest = Manifest::read(&folder.join(MANIFEST), key)?;
        let open = |name, record| CheckedFile::open(folder.join(name), record);
        let lengths = open(LENGTHS, manifest.lengths)?.words()?;
        let tokens: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        if tokens != manifest.tokens {
            let problem = format!("{tokens} tokens, expected {}", manifest.tokens);
            return Err(damaged(&folder.join(LENGTHS), problem));
        }
        let mask = match manifest.loss_mask {
            None => LossMask::default(),
            Some(record) => {
                let distances = open(LOSS_MASK, record)?.words()?;
                LossMask::from_distances(&distances, tokens).ok_or_else(|| {
                    damaged(
                        &folder.join(LOSS_MASK),
                        "its ranges are not among the tokens",
                    )
                })?
            }
        };
        Ok(Self {
            layout: Layout {
                lengths,
                mask,
                tokens,
            },
            ids: StoredIds {
                id_bytes: manifest.id_bytes,
                file: open(IDS, manifest.ids)?,
            },
        })
    }
}
