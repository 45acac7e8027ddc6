//! safetensors files, read as hostile: nothing is believed before it is checked.

use crate::ModelError;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How the numbers of a file are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredAs {
    /// 32 bits, exact.
    #[default]
    F32,
    /// bfloat16: half the size, 8 bits of precision.
    BF16,
    /// IEEE half precision.
    F16,
}

impl StoredAs {
    pub(crate) fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::BF16 => Dtype::BF16,
            Self::F16 => Dtype::F16,
        }
    }

    /// Bytes of a number.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::BF16 | Self::F16 => 2,
        }
    }

    /// As `config.json` spells it.
    pub(crate) fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::BF16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    pub(crate) fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::BF16 => values
                .iter()
                .flat_map(|&x| bf16::from_f32(x).to_le_bytes())
                .collect(),
            Self::F16 => values
                .iter()
                .flat_map(|&x| f16::from_f32(x).to_le_bytes())
                .collect(),
        }
    }
}

/// The largest header that the format allows.
const LARGEST_HEADER: u64 = 100_000_000;

/// One safetensors file: its header, and where its tensors are.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
    /// Where the tensors begin.
    start: u64,
    metadata: Metadata,
}

impl Shard {
    fn open(path: &Path) -> Result<Self, ModelError> {
        let error = |problem: String| ModelError::file(path, problem);
        let mut file = File::open(path).map_err(ModelError::io(path))?;
        let length = file.metadata().map_err(ModelError::io(path))?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size)
            .map_err(|_| error(format!("{length} bytes are no safetensors file")))?;
        let size = u64::from_le_bytes(size);
        // The header's length is a claim; nothing is allocated before it is held against the file.
        if size > LARGEST_HEADER || size + 8 > length {
            return Err(error(format!(
                "the header is said to have {size} bytes, but the file has {length}: is it truncated?"
            )));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(ModelError::io(path))?;
        // Deserialising checks that the tensors follow each other, and are as long as their shapes.
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|problem| error(format!("not a safetensors file: {problem}")))?;
        let expected = 8 + size + metadata.data_len() as u64;
        if length != expected {
            return Err(error(format!(
                "has {length} bytes, but its header describes {expected}: is it truncated?"
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            start: 8 + size,
            metadata,
        })
    }

    fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }
}

/// The tensors of a model folder, in one file or several.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    shards: Vec<Shard>,
    /// Which shard has a tensor.
    place: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        let single = folder.join("model.safetensors");
        let index_path = folder.join("model.safetensors.index.json");
        if single.exists() || !index_path.exists() {
            let shard = Shard::open(&single)?;
            let place = shard.names().into_iter().map(|name| (name, 0)).collect();
            return Ok(Self {
                shards: vec![shard],
                place,
            });
        }
        let text = std::fs::read(&index_path).map_err(ModelError::io(&index_path))?;
        let index: Index = serde_json::from_slice(&text)
            .map_err(|problem| ModelError::file(&index_path, problem))?;
        let mut shards: Vec<Shard> = Vec::new();
        let mut place = BTreeMap::new();
        for (name, file) in index.weight_map {
            // A shard is in this folder: an index can't make us read another file.
            if Path::new(&file).components().count() != 1 || file.starts_with('.') {
                let problem = format!("`{name}` is said to be in `{file}`, outside the folder");
                return Err(ModelError::file(&index_path, problem));
            }
            let path = folder.join(&file);
            let at = match shards.iter().position(|shard| shard.path == path) {
                Some(at) => at,
                None => {
                    shards.push(Shard::open(&path)?);
                    shards.len() - 1
                }
            };
            if shards[at].metadata.info(&name).is_none() {
                let problem = format!("`{name}` is said to be in `{file}`, but it is not there");
                return Err(ModelError::file(&index_path, problem));
            }
            place.insert(name, at);
        }
        Ok(Self { shards, place })
    }

    /// The names that `known` says nothing of.
    pub(crate) fn unknown(&self, known: impl Fn(&str) -> bool) -> Option<ModelError> {
        let (name, &shard) = self.place.iter().find(|(name, _)| !known(name))?;
        Some(ModelError::Weights {
            file: self.shards[shard].path.clone(),
            tensor: name.clone(),
            problem: "the configuration has no place for it".to_owned(),
        })
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.place.contains_key(name)
    }

    /// Rows of the first axis of a tensor that must have this shape, as f32.
    pub(crate) fn read(
        &self,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
    ) -> Result<Vec<f32>, ModelError> {
        let error = |shard: &Shard, problem: String| ModelError::Weights {
            file: shard.path.clone(),
            tensor: name.to_owned(),
            problem,
        };
        let Some(&at) = self.place.get(name) else {
            return Err(error(&self.shards[0], "missing".to_owned()));
        };
        let shard = &self.shards[at];
        let Some(info) = shard.metadata.info(name) else {
            return Err(error(shard, "missing".to_owned()));
        };
        if info.shape != shape {
            let problem = format!(
                "has shape {:?}, but the configuration says {shape:?}",
                info.shape
            );
            return Err(error(shard, problem));
        }
        let (from, to) = info.data_offsets;
        let row = (to - from) / shape[0];
        let mut bytes = vec![0; rows.len() * row];
        let mut file = &shard.file;
        file.seek(SeekFrom::Start(
            shard.start + (from + rows.start * row) as u64,
        ))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(ModelError::io(&shard.path))?;
        Ok(match info.dtype {
            Dtype::F32 => decode(&bytes, f32::from_le_bytes),
            Dtype::BF16 => decode(&bytes, |x| bf16::from_le_bytes(x).to_f32()),
            Dtype::F16 => decode(&bytes, |x| f16::from_le_bytes(x).to_f32()),
            other => {
                let problem = format!("is stored as {other:?}, expected F32, BF16 or F16");
                return Err(error(shard, problem));
            }
        })
    }
}

fn decode<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&x| number(x)).collect()
}
