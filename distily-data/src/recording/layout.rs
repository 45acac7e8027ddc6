use super::{Codec, RecordingConfig};
use std::fmt::Write;
use std::ops::Range;

/// How much of something there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) tokens: u64,
    /// Ids that are known, of all tokens together.
    pub(super) entries: u64,
}

/// What the first axis of a tensor counts.
#[derive(Debug, Clone, Copy)]
enum Of {
    Rows,
    Tokens,
    Entries,
}

/// A tensor of each shard.
#[derive(Debug)]
struct Tensor {
    name: String,
    dtype: &'static str,
    of: Of,
    /// Its second axis.
    width: Option<usize>,
}

impl Tensor {
    fn new(name: impl Into<String>, dtype: &'static str, of: Of, width: Option<usize>) -> Self {
        Self {
            name: name.into(),
            dtype,
            of,
            width,
        }
    }

    fn length(&self, counts: &Counts) -> u64 {
        match self.of {
            Of::Rows => counts.rows,
            Of::Tokens => counts.tokens,
            Of::Entries => counts.entries,
        }
    }

    /// Bytes of so much of it.
    fn bytes(&self, counts: &Counts) -> Option<u64> {
        let element = match self.dtype {
            "U8" => 1,
            "U32" => 4,
            _ => 2,
        };
        self.length(counts)
            .checked_mul(self.width.unwrap_or(1) as u64)?
            .checked_mul(element)
    }
}

/// The tensors that say where each row is, and what its data's hash is.
const INDEX: usize = 4;

/// The index, and then what [`Encoded`](super::encoder::Encoded) holds, in its order. Wide elements come
/// before narrow ones, so that each lies at a multiple of its size.
fn tensors(config: &RecordingConfig) -> Vec<Tensor> {
    use Of::{Entries, Rows, Tokens};
    let id = id_dtype(config.shape.vocabulary);
    let mut tensors = vec![
        Tensor::new("row_keys", "U8", Rows, Some(32)),
        Tensor::new("row_hashes", "U8", Rows, Some(32)),
        Tensor::new("row_tokens", "U32", Rows, None),
        Tensor::new("row_entries", "U32", Rows, None),
    ];
    match config.codec {
        Codec::Full => {
            let vocabulary = Some(config.shape.vocabulary);
            tensors.push(Tensor::new("log_probabilities", "F16", Tokens, vocabulary));
        }
        Codec::TopK { .. } => tensors.extend([
            Tensor::new("ids", id, Entries, None),
            Tensor::new("log_probabilities", "F16", Entries, None),
            Tensor::new("tail", "F16", Tokens, None),
            Tensor::new("lengths", "U16", Tokens, None),
        ]),
        Codec::Sampled { .. } => tensors.extend([
            Tensor::new("ids", id, Entries, None),
            Tensor::new("lengths", "U16", Tokens, None),
        ]),
    }
    for layer in &config.hidden_layers {
        let name = format!("hidden.{layer}");
        tensors.push(Tensor::new(name, "F16", Tokens, Some(config.shape.width)));
    }
    if let Codec::Sampled { draws, .. } = config.codec {
        let dtype = if narrow_counts(draws) { "U8" } else { "U16" };
        tensors.push(Tensor::new("counts", dtype, Entries, None));
    }
    tensors
}

fn id_dtype(vocabulary: usize) -> &'static str {
    if narrow_ids(vocabulary) { "U16" } else { "U32" }
}

/// Whether an id takes two bytes, or four.
pub(super) fn narrow_ids(vocabulary: usize) -> bool {
    vocabulary <= 1 << 16
}

/// Whether a count takes one byte, or two.
pub(super) fn narrow_counts(draws: usize) -> bool {
    draws < 1 << 8
}

/// Where everything is in a shard. It follows from the recording's configuration and the counts, so that no
/// header is ever believed: a shard begins with the one that it has to have.
#[derive(Debug)]
pub(super) struct Layout {
    /// All before the tensors.
    pub(super) header: Vec<u8>,
    /// Where the data begins: after the header and the index.
    pub(super) data: u64,
    /// The length of the file.
    pub(super) bytes: u64,
    tensors: Vec<Tensor>,
    /// Where each tensor begins.
    starts: Vec<u64>,
}

impl Layout {
    /// `None` if no file is so large.
    pub(super) fn new(config: &RecordingConfig, counts: &Counts) -> Option<Self> {
        let tensors = tensors(config);
        let mut header = r#"{"__metadata__":{"format":"distily recording 2"}"#.to_owned();
        let (mut starts, mut end) = (Vec::new(), 0u64);
        for tensor in &tensors {
            let start = end;
            end = end.checked_add(tensor.bytes(counts)?)?;
            starts.push(start);
            let length = tensor.length(counts);
            let width = tensor
                .width
                .map_or(String::new(), |width| format!(",{width}"));
            let Tensor { name, dtype, .. } = tensor;
            write!(
                header,
                r#","{name}":{{"dtype":"{dtype}","shape":[{length}{width}],"data_offsets":[{start},{end}]}}"#
            )
            .ok()?;
        }
        header.push('}');
        let length = header.len().next_multiple_of(8);
        let mut bytes = (length as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(8 + length, b' ');
        let before = bytes.len() as u64;
        for start in &mut starts {
            *start = start.checked_add(before)?;
        }
        Some(Self {
            header: bytes,
            data: starts[INDEX],
            bytes: end.checked_add(before)?,
            tensors,
            starts,
        })
    }

    /// The bytes of each data tensor from what is before some tokens to their end.
    pub(super) fn ranges(&self, from: &Counts, to: &Counts) -> Option<Vec<Range<u64>>> {
        let range = |(tensor, &start): (&Tensor, &u64)| {
            let of = |counts| Some(start + tensor.bytes(counts)?);
            Some(of(from)?..of(to)?)
        };
        let all = self.tensors.iter().zip(&self.starts);
        all.skip(INDEX).map(range).collect()
    }

    /// The same bytes, counted from the beginning of their tensor.
    pub(super) fn ranges_in_tensors(
        &self,
        from: &Counts,
        to: &Counts,
    ) -> Option<Vec<Range<usize>>> {
        let ranges = self.ranges(from, to)?.into_iter();
        let starts = &self.starts[INDEX..];
        let within = |(range, start): (Range<u64>, &u64)| {
            (range.start - start) as usize..(range.end - start) as usize
        };
        Some(ranges.zip(starts).map(within).collect())
    }

    /// The most data that a token may have.
    pub(super) fn most_token_bytes(config: &RecordingConfig) -> Option<u64> {
        let token = Counts {
            rows: 0,
            tokens: 1,
            entries: config.codec.most_ids(config.shape.vocabulary) as u64,
        };
        let tensors = tensors(config);
        let bytes = tensors
            .iter()
            .skip(INDEX)
            .map(|tensor| tensor.bytes(&token));
        bytes.sum()
    }

    /// How many data tensors there are.
    pub(super) fn data_tensors(config: &RecordingConfig) -> usize {
        tensors(config).len() - INDEX
    }
}
