use crate::cache::StoredIds;
use crate::loss_mask::LossMask;
use crate::{ContentHash, DataError, DocumentEncoder, DocumentSource};
use std::ops::Range;

/// The tokens of documents, one after the other: in memory, or in a [cache](crate::TokenCache), from
/// which they are read as they are needed.
#[derive(Debug)]
pub struct Tokens {
    key: ContentHash,
    layout: Layout,
    ids: Ids,
}

#[derive(Debug)]
enum Ids {
    Memory(Vec<u32>),
    Stored(StoredIds),
}

/// Where documents lie in a stream of tokens, and which of the tokens count.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) lengths: Vec<u32>,
    pub(crate) mask: LossMask,
    pub(crate) tokens: u64,
}

impl Layout {
    /// The next document.
    pub(crate) fn push(
        &mut self,
        length: usize,
        ignored: &[Range<usize>],
    ) -> Result<(), DataError> {
        self.lengths
            .push(u32::try_from(length).map_err(|_| DataError::Config {
                field: "document",
                got: format!("{length} tokens"),
                expected: "fewer than 2^32 tokens",
            })?);
        for ignored in ignored {
            let [start, end] = [ignored.start, ignored.end].map(|at| self.tokens + at as u64);
            self.mask.ignore(start..end);
        }
        self.tokens += length as u64;
        Ok(())
    }
}

impl Tokens {
    /// Documents that are tokens already; all tokens count.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] for a document of 2^32 tokens.
    pub fn new(documents: &[Vec<u32>]) -> Result<Self, DataError> {
        let bytes = documents.iter().map(|ids| {
            ids.iter()
                .flat_map(|id| id.to_le_bytes())
                .collect::<Vec<u8>>()
        });
        let mut layout = Layout::default();
        for ids in documents {
            layout.push(ids.len(), &[])?;
        }
        let key = ContentHash::of("ids", bytes);
        Ok(Self::in_memory(key, layout, documents.concat()))
    }

    pub(crate) fn in_memory(key: ContentHash, layout: Layout, ids: Vec<u32>) -> Self {
        Self {
            key,
            layout,
            ids: Ids::Memory(ids),
        }
    }

    pub(crate) fn stored(key: ContentHash, layout: Layout, ids: StoredIds) -> Self {
        Self {
            key,
            layout,
            ids: Ids::Stored(ids),
        }
    }

    /// What the tokens are: the hash of the source, the tokenizer and the encoder's options.
    pub fn key(&self) -> ContentHash {
        self.key
    }

    /// How many documents there are.
    pub fn documents(&self) -> usize {
        self.layout.lengths.len()
    }

    /// The tokens of each document.
    pub fn document_lengths(&self) -> &[u32] {
        &self.layout.lengths
    }

    /// How many tokens there are.
    pub fn len(&self) -> u64 {
        self.layout.tokens
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the ids of some tokens.
    pub(crate) fn read(&self, ids: &mut Vec<u32>, tokens: Range<u64>) -> Result<(), DataError> {
        match &self.ids {
            Ids::Stored(stored) => stored.read(ids, tokens)?,
            Ids::Memory(all) => ids.extend(&all[tokens.start as usize..tokens.end as usize]),
        }
        Ok(())
    }

    /// Which tokens count.
    pub(crate) fn mask(&self) -> &LossMask {
        &self.layout.mask
    }
}

impl DocumentEncoder {
    /// The tokens of all documents, in memory.
    ///
    /// # Errors
    ///
    /// Where a document can't be read or encoded.
    pub fn tokens<S: DocumentSource + ?Sized>(&self, source: &S) -> Result<Tokens, DataError> {
        let (mut layout, mut ids) = (Layout::default(), Vec::new());
        self.encode_each(source, |document| {
            ids.extend_from_slice(&document.ids);
            layout.push(document.ids.len(), &document.ignored)
        })?;
        Ok(Tokens::in_memory(self.key(source)?, layout, ids))
    }
}
