use crate::mix::Mix;
use crate::source::{Dropped, Source, SourceConfig, Taken};
use crate::{ContentHash, DataError, Document, DocumentIterator, DocumentSource};
use distily_core::Seed;
use distily_hub::Hub;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::path::Path;

/// What to train on and what to measure with, as a config names it.
///
/// Without sources of its own, what is held out is a share of the training documents. A document is
/// held out by the hash of its text, so that all copies of it are on one side: what is measured was
/// never trained on.
///
/// ```
/// use distily_data::CorpusConfig;
///
/// let config: CorpusConfig = serde_json::from_str(r#"{
///     "train": [
///         { "name": "HuggingFaceH4/ultrachat_200k", "split": "train_sft", "weight": 3,
///           "columns": { "chat": { "messages": "messages" } } },
///         { "name": "notes.txt", "document_separator": "\n\n", "weight": 1 }
///     ],
///     "held_out_fraction": 0.02
/// }"#)?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusConfig {
    /// To train on: one after the other, or mixed by their weights until one is used up; none where all is to
    /// measure with.
    #[serde(default)]
    pub train: Vec<SourceConfig>,
    /// To measure with. Training documents that are among them are dropped.
    #[serde(default)]
    pub held_out: Vec<SourceConfig>,
    /// The share of the training documents to hold out, where no sources are named for that.
    #[serde(default = "one_percent")]
    pub held_out_fraction: f64,
    /// What samples of rows are drawn by.
    #[serde(default = "seed")]
    pub seed: Seed,
}

fn one_percent() -> f64 {
    0.01
}

fn seed() -> Seed {
    Seed(0)
}

impl CorpusConfig {
    /// Some sources, of which one percent is held out.
    pub fn new(train: impl IntoIterator<Item = SourceConfig>) -> Self {
        Self {
            train: train.into_iter().collect(),
            held_out: Vec::new(),
            held_out_fraction: one_percent(),
            seed: seed(),
        }
    }

    /// Finds the files of all sources, and downloads those that are on the hub. Names of files and
    /// folders are relative to `base`.
    ///
    /// # Errors
    ///
    /// [`DataError`] where a setting means nothing, or a file can't be had.
    pub fn open(&self, hub: &Hub, base: &Path) -> Result<Corpus, DataError> {
        if self.train.is_empty() && self.held_out.is_empty() {
            return Err(no_source("no source, and none in `held_out`".to_owned()));
        }
        if !(0.0..1.0).contains(&self.held_out_fraction) {
            return Err(DataError::Config {
                field: "held_out_fraction",
                got: self.held_out_fraction.to_string(),
                expected: "0 or more, and less than 1",
            });
        }
        let open = |configs: &[SourceConfig]| {
            Mix::new(configs.iter().map(|config| (config, ())).collect())?;
            let sources = configs.iter().map(|config| Source::open(config, hub, base));
            sources.collect::<Result<Vec<_>, _>>()
        };
        Ok(Corpus {
            train: open(&self.train)?,
            held_out: open(&self.held_out)?,
            held_out_fraction: self.held_out_fraction,
            seed: self.seed,
        })
    }
}

/// Documents to train on, and others to measure with. They are read as they are needed: a corpus
/// holds none.
#[derive(Debug, Clone)]
pub struct Corpus {
    train: Vec<Source>,
    held_out: Vec<Source>,
    held_out_fraction: f64,
    seed: Seed,
}

impl Corpus {
    /// The documents to train on.
    pub fn train(&self) -> CorpusSide<'_> {
        CorpusSide {
            corpus: self,
            side: Side::Train,
        }
    }

    /// The documents to measure with, none of which is among those to train on.
    pub fn held_out(&self) -> CorpusSide<'_> {
        CorpusSide {
            corpus: self,
            side: Side::HeldOut,
        }
    }

    fn rows<'a>(
        &self,
        sources: &'a [Source],
        purpose: u64,
    ) -> Result<impl Iterator<Item = Result<Taken, DataError>> + 'a, DataError> {
        let numbered = (purpose..).step_by(2).zip(sources);
        let rows = numbered.map(|(number, source)| {
            let rows = source.taken(self.seed, number)?;
            Ok((&source.config, rows))
        });
        Mix::new(rows.collect::<Result<_, DataError>>()?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Train,
    HeldOut,
}

/// One side of a [`Corpus`]. When all of it was read, what was counted is logged.
#[derive(Debug, Clone, Copy)]
pub struct CorpusSide<'a> {
    corpus: &'a Corpus,
    side: Side,
}

/// What the rows of one side of a corpus became.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DocumentCounts {
    /// Documents on this side, copies included.
    pub documents: u64,
    /// Those whose text had come before.
    pub duplicates: u64,
    /// Training documents that were dropped because a held-out source has them.
    pub also_held_out: u64,
    /// Rows that were dropped because a column is null.
    pub null: u64,
    /// Rows that were dropped because there is nothing to learn in them.
    pub blank: u64,
    /// Rows that were dropped because they have too few characters.
    pub too_short: u64,
    /// Rows that were dropped because they have too many.
    pub too_long: u64,
}

impl fmt::Display for DocumentCounts {
    /// Those that are not 0, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            documents,
            duplicates,
            also_held_out,
            null,
            blank,
            too_short,
            too_long,
        } = *self;
        write!(f, "{documents} documents")?;
        for (count, what) in [
            (duplicates, "duplicates"),
            (also_held_out, "also held out"),
            (null, "null"),
            (blank, "blank"),
            (too_short, "too short"),
            (too_long, "too long"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

impl CorpusSide<'_> {
    /// Reads all of it and counts. What is dropped of training sources, out of which a share is held
    /// out, counts on both sides.
    ///
    /// # Errors
    ///
    /// Where a row can't be read.
    pub fn count(&self) -> Result<DocumentCounts, DataError> {
        let mut pass = self.pass()?;
        pass.by_ref().try_for_each(|document| document.map(drop))?;
        Ok(pass.counts)
    }

    fn pass(&self) -> Result<Pass<'_>, DataError> {
        let Self { corpus, side } = *self;
        let apart = !corpus.held_out.is_empty();
        let (sources, purpose) = match side {
            Side::HeldOut if apart => (&corpus.held_out, 1),
            _ => (&corpus.train, 0),
        };
        if sources.is_empty() {
            return Err(no_source("no source".to_owned()));
        }
        let mut elsewhere = HashSet::new();
        if apart && side == Side::Train {
            for document in corpus.held_out().pass()? {
                elsewhere.insert(text_key(&document?));
            }
        }
        let fraction = (!apart).then_some(corpus.held_out_fraction);
        Ok(Pass {
            rows: Box::new(corpus.rows(sources, purpose)?),
            sources,
            side,
            fraction,
            elsewhere,
            seen: HashSet::new(),
            counts: DocumentCounts::default(),
            ended: false,
        })
    }
}

impl DocumentSource for CorpusSide<'_> {
    fn identity(&self) -> Result<ContentHash, DataError> {
        let Corpus {
            train,
            held_out,
            held_out_fraction,
            seed,
        } = self.corpus;
        let hash = |sources: &[Source]| {
            let parts = sources.iter().flat_map(Source::parts);
            ContentHash::of("sources", parts).as_bytes().to_vec()
        };
        // Nothing that can't change the documents of this side.
        let fraction = format!("{held_out_fraction}").into_bytes();
        let of = match (self.side, held_out.is_empty()) {
            (Side::Train, true) => [b"train".to_vec(), hash(train), fraction],
            (Side::HeldOut, true) => [b"held out".to_vec(), hash(train), fraction],
            (Side::Train, false) => [b"train beside".to_vec(), hash(train), hash(held_out)],
            (Side::HeldOut, false) => [b"held out beside".to_vec(), hash(held_out), vec![]],
        };
        let seed = format!("{seed:?}").into_bytes();
        Ok(ContentHash::of("corpus 2", of.into_iter().chain([seed])))
    }

    fn documents(&self) -> Result<DocumentIterator<'_>, DataError> {
        Ok(Box::new(self.pass()?))
    }
}

fn no_source(got: String) -> DataError {
    DataError::Config {
        field: "train",
        got,
        expected: "one or more",
    }
}

/// What makes documents the same: their text, the space around it aside, however it is divided.
type TextKey = [u8; 16];

fn text_key(document: &Document) -> TextKey {
    let hash = blake3::hash(document.whole_text().trim().as_bytes());
    *hash.as_bytes().first_chunk().expect("32 bytes")
}

/// Where a text falls between 0 and 1, by its content alone.
fn share_of(key: &TextKey) -> f64 {
    let first = key.first_chunk().expect("16 bytes");
    u64::from_le_bytes(*first) as f64 / u64::MAX as f64
}

/// One reading of a side.
struct Pass<'a> {
    rows: Box<dyn Iterator<Item = Result<Taken, DataError>> + 'a>,
    /// Those of the rows, of which there is one or more.
    sources: &'a [Source],
    side: Side,
    /// The share that is held out, where both sides are of the same rows.
    fraction: Option<f64>,
    /// What is held out of other sources.
    elsewhere: HashSet<TextKey>,
    seen: HashSet<TextKey>,
    counts: DocumentCounts,
    ended: bool,
}

impl Pass<'_> {
    fn next_document(&mut self) -> Result<Option<Document>, DataError> {
        for taken in self.rows.by_ref() {
            let document = match taken? {
                Taken::Document(document) => document,
                Taken::Dropped(why) => {
                    *match why {
                        Dropped::Null => &mut self.counts.null,
                        Dropped::Blank => &mut self.counts.blank,
                        Dropped::TooShort => &mut self.counts.too_short,
                        Dropped::TooLong => &mut self.counts.too_long,
                    } += 1;
                    continue;
                }
            };
            let key = text_key(&document);
            if let Some(fraction) = self.fraction {
                let held_out = share_of(&key) < fraction;
                if held_out != (self.side == Side::HeldOut) {
                    continue;
                }
            }
            if self.elsewhere.contains(&key) {
                self.counts.also_held_out += 1;
                continue;
            }
            self.counts.documents += 1;
            self.counts.duplicates += u64::from(!self.seen.insert(key));
            return Ok(Some(document));
        }
        self.end().map(|()| None)
    }

    /// Says what was counted; no document at all is an error, and files that are not what they were.
    fn end(&self) -> Result<(), DataError> {
        self.sources.iter().try_for_each(Source::check_unchanged)?;
        let (counts, name) = (self.counts, &self.sources[0].config.name);
        tracing::info!(name, side = ?self.side, %counts, "read the documents");
        if counts.also_held_out > 0 {
            let dropped = counts.also_held_out;
            tracing::warn!(
                dropped,
                "dropped training documents that are held out as well"
            );
        }
        if counts.documents > 0 {
            return Ok(());
        }
        Err(DataError::Source {
            name: name.clone(),
            problem: format!(
                "{} ({counts})",
                match (self.side, self.fraction) {
                    (Side::Train, _) =>
                        "no document is left to train on: see `split`, `min_characters`, `max_characters` and `document_separator`",
                    (Side::HeldOut, Some(_)) =>
                        "no document is held out: give `document_separator`, a larger `held_out_fraction`, or sources as `held_out`",
                    (Side::HeldOut, None) => "no document is left to measure with",
                }
            ),
        })
    }
}

impl Iterator for Pass<'_> {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_document();
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}
