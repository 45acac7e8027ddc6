mod axolotl;
mod distill_kit;
mod taught;
mod trl;
pub(crate) mod vllm;

use crate::source::{DataFile, Records};
use crate::tokens::Layout;
use crate::{ContentHash, DataError, Packing, TokenRows, Tokens};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub(crate) use taught::{Prediction, Taught, prediction};

/// Whose files an [`Import`] reads: JSON lines (`.jsonl`, `.json`, also with `.gz` or `.zst`) or parquet.
/// All of them hold log-probabilities, by the natural logarithm; what is above 0 is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ImportFormat {
    /// The answers of a vLLM server, one a line, to completions (`choices[].prompt_logprobs`) or chats
    /// (`prompt_logprobs`) that asked for `prompt_logprobs` and `return_token_ids`.
    Vllm,
    /// A data set of axolotl: prepared (`input_ids`, `target_logprobs`, `target_token_ids`, and where
    /// they are there `target_mask` and `labels`), or before (`input_ids` and `logprobs`, with
    /// `target_token_ids` or as entries of `token` and `logprob`). What is prepared was divided by the
    /// sum of the ids that were kept: its recording knows of no mass of others, so that its student
    /// learns to say nothing else. Import what is not, where it is there. Targets may stand at the tokens that
    /// they are of, where axolotl puts them, or at those before: labels, mask and last token say which.
    Axolotl,
    /// What the server of TRL says of sequences: a request's `sequences` and `prompt_lengths` and, in the
    /// same line, the `logprobs` and `logprob_token_ids` of its answer.
    Trl,
    /// A folder of DistillKit: parquet files with `input_ids`, `compressed_logprobs` and
    /// `bytepacked_indices`, and the `compression_config.yaml` that they were written by. Of rows that it
    /// packed, each sample (by `attention_mask`) is a sequence.
    DistillKit,
}

/// Files in which another tool kept what a teacher said of sequences of tokens.
///
/// [`rows`](Self::rows) are the sequences to train on, and
/// [`Recorder::import`](crate::Recorder::import) records what the teacher said of them.
///
/// ```
/// use distily_core::ModelShape;
/// use distily_data::{
///     Codec, ContentHash, Import, ImportFormat, Provenance, Recorder, Recording, RecordingConfig,
/// };
/// # use burn::tensor::Device;
/// # let folder = tempfile::tempdir()?;
/// # std::env::set_current_dir(&folder)?;
/// # let answer = r#"{ "choices": [{ "index": 0, "prompt_token_ids": [5, 7, 2],
/// #     "prompt_logprobs": [null, { "7": { "logprob": -0.5, "rank": 1 } },
/// #         { "2": { "logprob": -3.0, "rank": 9 }, "4": { "logprob": -0.1, "rank": 1 } }] }] }"#;
/// # std::fs::write("answers.jsonl", answer.replace('\n', ""))?;
///
/// let answers = Import::open("answers.jsonl", ImportFormat::Vllm)?;
/// let rows = answers.rows(512)?;
/// let provenance = Provenance {
///     // A server does not show its weights: name them, and always so.
///     teacher: ContentHash::of("teacher", ["Qwen/Qwen3-8B"]),
///     tokenizer: ContentHash::of("tokenizer", ["Qwen/Qwen3-8B"]), // or of its tokenizer.json
///     data: rows.key(),
///     temperature: 1.0,
/// };
/// let config = RecordingConfig {
///     provenance: provenance.clone(),
///     shape: ModelShape { vocabulary: 151_936, ..ModelShape::default() },
///     codec: Codec::TopK { k: 20, p: 1.0 },
///     hidden_layers: Vec::new(),
/// };
/// Recorder::open("recording", config)?.import(&answers, &rows)?;
///
/// let teacher = Recording::open("recording", &provenance, &Device::flex())?;
/// assert_eq!(teacher.rows(), rows.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Import {
    path: PathBuf,
    format: ImportFormat,
    files: Vec<DataFile>,
}

/// The sequences of an import, in their order.
pub(crate) type Sequences = Box<dyn Iterator<Item = Result<Taught, DataError>>>;

impl Import {
    /// Finds a file, or the files of a folder in the order of their names.
    ///
    /// # Errors
    ///
    /// [`DataError::Source`] where there is none, [`DataError::Io`].
    pub fn open(path: impl Into<PathBuf>, format: ImportFormat) -> Result<Self, DataError> {
        let path = path.into();
        let files = if path.is_dir() {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(&path).map_err(DataError::io(&path))? {
                files.extend(DataFile::new(entry.map_err(DataError::io(&path))?.path()));
            }
            files.sort_by(|a, b| a.path().cmp(b.path()));
            files
        } else {
            DataFile::new(path.clone()).into_iter().collect()
        };
        if files.is_empty() || !path.exists() {
            return Err(DataError::Source {
                name: path.display().to_string(),
                problem: "expected a file, or a folder of files, of JSON lines or parquet"
                    .to_owned(),
            });
        }
        Ok(Self {
            path,
            format,
            files,
        })
    }

    /// The sequences as rows of `length` tokens, each a row of its own; of a longer one, its end is left
    /// out. A token counts as a target if the teacher said something of it, and the files do not
    /// mask it.
    ///
    /// All files are read, so that whatever is wrong with them is told here.
    ///
    /// # Errors
    ///
    /// [`DataError::Row`] for a row that is not of the format, [`DataError::Column`],
    /// [`DataError::File`], [`DataError::Io`]; [`DataError::Config`] for a length below 2.
    pub fn rows(&self, length: usize) -> Result<TokenRows, DataError> {
        let (mut layout, mut ids, mut key) = (Layout::default(), Vec::new(), Vec::new());
        for sequence in self.sequences()? {
            let sequence = sequence?;
            layout.push(sequence.ids.len(), &sequence.ignored())?;
            key.push(sequence.hash());
            ids.extend(sequence.ids);
        }
        let key = ContentHash::of("imported sequences", key.iter().map(ContentHash::as_bytes));
        TokenRows::pack(Tokens::in_memory(key, layout, ids), Packing::Padded, length)
    }

    /// How many of the sequences are documents that stand in some tokens, whichever of the special ids
    /// begin and end either: none, if these are to measure with.
    ///
    /// # Errors
    ///
    /// As [`rows`](Self::rows), and where the tokens can't be read.
    pub fn count_in(&self, tokens: &Tokens, special: &[u32]) -> Result<usize, DataError> {
        let is_special = |id: &u32| special.contains(id);
        let bare = |ids: &[u32]| -> ContentHash {
            let start = ids.iter().take_while(|id| is_special(id)).count();
            let end = ids[start..].iter().rev().take_while(|id| is_special(id));
            let ids = &ids[start..ids.len() - end.count()];
            ContentHash::of("document", ids.iter().map(|id| id.to_le_bytes()))
        };
        let (mut documents, mut at, mut ids) = (HashSet::new(), 0, Vec::new());
        for &length in tokens.document_lengths() {
            ids.clear();
            tokens.read(&mut ids, at..at + u64::from(length))?;
            at += u64::from(length);
            documents.insert(*bare(&ids).as_bytes());
        }
        let mut count = 0;
        for sequence in self.sequences()? {
            count += usize::from(documents.contains(bare(&sequence?.ids).as_bytes()));
        }
        Ok(count)
    }

    /// Where the files are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All sequences, from the first file to the last.
    pub(crate) fn sequences(&self) -> Result<Sequences, DataError> {
        match self.format {
            ImportFormat::Vllm => self.read(vllm::COLUMNS, vllm::Answer::sequences),
            ImportFormat::Axolotl => self.read(axolotl::COLUMNS, |row: axolotl::Row| {
                row.sequence().map(|sequence| vec![sequence])
            }),
            ImportFormat::Trl => self.read(trl::COLUMNS, trl::Answer::sequences),
            ImportFormat::DistillKit => {
                let compression = distill_kit::Compression::beside(&self.path)?;
                self.read(distill_kit::COLUMNS, move |row: distill_kit::Row| {
                    row.sequences(&compression)
                })
            }
        }
    }

    fn read<T: DeserializeOwned + 'static>(
        &self,
        columns: &'static [&'static str],
        sequences: impl Fn(T) -> Result<Vec<Taught>, String> + 'static,
    ) -> Result<Sequences, DataError> {
        let of_row = move |file: &DataFile, row: u64, record: Result<T, String>| {
            let record = record.map_err(|problem| {
                let columns = columns.join("`, `");
                format!("{problem}; the columns that are read are `{columns}`")
            });
            match record.and_then(&sequences) {
                Ok(sequences) => sequences.into_iter().map(Ok).collect(),
                Err(problem) => vec![Err(file.problem(row, problem))],
            }
        };
        let of_row = Rc::new(of_row);
        // One after the other: there may be more than a process can have open.
        let of_file = move |file: DataFile| -> Sequences {
            let records: Records<T> = match file.records(columns) {
                Ok(records) => records,
                Err(problem) => return Box::new(std::iter::once(Err(problem))),
            };
            let of_row = of_row.clone();
            let rows = (1..).zip(records);
            Box::new(rows.flat_map(move |(row, record)| of_row(&file, row, record)))
        };
        Ok(Box::new(self.files.clone().into_iter().flat_map(of_file)))
    }
}
