use crate::DataError;
use half::{bf16, f16};
use serde::Deserialize;
use std::path::Path;

/// How DistillKit wrote log-probabilities: its `compression_config.yaml`. Of a token's `k`, which fall,
/// the first are kept as they are; a curve is laid through the others, and what it misses is kept in
/// few bits, with a scale for each bin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Compression {
    /// The vocabulary.
    d: u32,
    k: usize,
    exact_k: usize,
    #[serde(default)]
    exact_dtype: Float,
    polynomial_terms: Option<Vec<Term>>,
    #[serde(default)]
    term_dtype: Float,
    residual_bins: Vec<Bin>,
    /// Whether each value but the first is kept as its difference from the one before.
    #[serde(default = "yes")]
    delta_encoding: bool,
    /// How it rounded, which reading does not ask for.
    #[serde(default, rename = "error_diffusion")]
    _error_diffusion: bool,
    /// Whether the curve's argument runs from 0 to 1 rather than by ones.
    #[serde(default)]
    normalize_t: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bin {
    scale_dtype: Float,
    element_bits: u32,
    num_elements: usize,
}

/// A summand of the curve: a power of its argument, or a function.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Term {
    Power(i32),
    Function(Function),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Function {
    Sqrt,
    Exp,
}

/// The most ids of a token that are believed.
const MOST: usize = 1 << 16;

const FILE: &str = "compression_config.yaml";

impl Compression {
    /// Reads the file beside a data file, or in a folder.
    pub(in super::super) fn beside(path: &Path) -> Result<Self, DataError> {
        let folder = if path.is_dir() {
            path
        } else {
            path.parent().unwrap_or(Path::new(""))
        };
        let file = folder.join(FILE);
        if !file.exists() {
            let problem = "is not there: DistillKit writes it beside its data, and without it their bytes can't be read".to_owned();
            return Err(DataError::File { file, problem });
        }
        let text = std::fs::read_to_string(&file).map_err(DataError::io(&file))?;
        Self::parse(&text).map_err(|problem| DataError::File { file, problem })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = serde_saphyr::from_str(text)
            .map_err(|problem| format!("not a compression of DistillKit: {problem}"))?;
        let expect = |holds: bool, what: &str| match holds {
            true => Ok(()),
            false => Err(format!("expected {what}")),
        };
        let bins = &config.residual_bins;
        let in_bins = bins
            .iter()
            .try_fold(0usize, |sum, bin| sum.checked_add(bin.num_elements));
        let curved = config.k.checked_sub(config.exact_k);
        expect(config.d > 0, "a `d` above 0")?;
        expect((1..=MOST).contains(&config.k), "a `k` of 1 to 65536")?;
        expect(curved.is_some(), "an `exact_k` of at most `k`")?;
        expect(
            in_bins.is_some_and(|sum| Some(sum) <= curved),
            "bins of at most `k` - `exact_k` elements",
        )?;
        expect(
            bins.iter().all(|bin| (1..=32).contains(&bin.element_bits)),
            "`element_bits` of 1 to 32",
        )?;
        Ok(config)
    }

    /// The ids of a token.
    pub(super) fn ids(&self, bytes: &[u8]) -> Result<Vec<u32>, String> {
        let bits = (self.d - 1).checked_ilog2().map_or(0, |log| log + 1);
        let mut bytes = Bytes(bytes);
        let ids = bytes.integers(self.k, bits).and_then(|ids| bytes.end(ids));
        ids.map_err(|problem| format!("`bytepacked_indices`: {problem}"))
    }

    /// The log-probabilities of a token.
    pub(super) fn logs(&self, bytes: &[u8]) -> Result<Vec<f32>, String> {
        let mut bytes = Bytes(bytes);
        let logs = self.read(&mut bytes).and_then(|logs| bytes.end(logs));
        logs.map_err(|problem| format!("`compressed_logprobs`: {problem}"))
    }

    fn read(&self, bytes: &mut Bytes<'_>) -> Result<Vec<f32>, String> {
        let mut values = bytes.floats(self.exact_k, self.exact_dtype)?;
        let terms = self.polynomial_terms.as_deref().unwrap_or_default();
        let coefficients = bytes.floats(terms.len(), self.term_dtype)?;
        let curved = self.k - self.exact_k;
        let curve = (0..curved).map(|at| self.curve(terms, &coefficients, at, curved));
        values.extend(curve);
        let mut at = self.exact_k;
        for bin in &self.residual_bins {
            let scale = bytes.floats(1, bin.scale_dtype)?[0];
            for kept in bytes.integers(bin.num_elements, bin.element_bits)? {
                values[at] += bin.residual(kept) * scale;
                at += 1;
            }
        }
        if self.delta_encoding {
            let mut sum = 0.0;
            for value in &mut values {
                sum += *value;
                *value = sum;
            }
        }
        Ok(values.into_iter().map(|value| value as f32).collect())
    }

    /// The curve at a place, by the arithmetic of the type that its coefficients are kept in: what it
    /// misses was taken from that.
    fn curve(&self, terms: &[Term], coefficients: &[f64], at: usize, places: usize) -> f64 {
        let round = |x: f64| self.term_dtype.round(x);
        let t = round(match self.normalize_t {
            true => at as f64 / (places - 1).max(1) as f64,
            false => at as f64,
        });
        let summands = terms.iter().zip(coefficients).map(|(term, coefficient)| {
            let x = match term {
                Term::Power(power) => t.powi(*power),
                Term::Function(Function::Sqrt) => t.sqrt(),
                Term::Function(Function::Exp) => t.exp(),
            };
            round(round(x) * coefficient)
        });
        round(summands.sum())
    }
}

impl Bin {
    /// In units of the scale.
    fn residual(&self, kept: u32) -> f64 {
        match self.element_bits {
            1 => f64::from(kept) * 2.0 - 1.0,
            bits => f64::from(kept) - f64::from(1u32 << (bits - 1)),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Float {
    Float16,
    BFloat16,
    #[default]
    Float32,
    Float64,
}

impl Float {
    fn round(self, x: f64) -> f64 {
        match self {
            Self::Float16 => f16::from_f64(x).to_f64(),
            Self::BFloat16 => bf16::from_f64(x).to_f64(),
            Self::Float32 => f64::from(x as f32),
            Self::Float64 => x,
        }
    }
}

/// Bytes that are not read yet.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let short = || format!("{} bytes where {count} are to be", self.0.len());
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Little-endian.
    fn floats(&mut self, count: usize, dtype: Float) -> Result<Vec<f64>, String> {
        Ok(match dtype {
            Float::Float16 => {
                let values = self.take(2 * count)?.as_chunks().0.iter();
                values.map(|&x| f16::from_le_bytes(x).to_f64()).collect()
            }
            Float::BFloat16 => {
                let values = self.take(2 * count)?.as_chunks().0.iter();
                values.map(|&x| bf16::from_le_bytes(x).to_f64()).collect()
            }
            Float::Float32 => {
                let values = self.take(4 * count)?.as_chunks().0.iter();
                values.map(|&x| f32::from_le_bytes(x).into()).collect()
            }
            Float::Float64 => {
                let values = self.take(8 * count)?.as_chunks().0.iter();
                values.map(|&x| f64::from_le_bytes(x)).collect()
            }
        })
    }

    /// Of so many bits each, at most 32, the highest first; the last byte is filled up.
    fn integers(&mut self, count: usize, bits: u32) -> Result<Vec<u32>, String> {
        let bytes = self.take((count * bits as usize).div_ceil(8))?;
        let bit = |at: usize| u32::from(bytes[at / 8] >> (7 - at % 8) & 1);
        let one = |number: usize| {
            let start = number * bits as usize;
            (start..start + bits as usize).fold(0, |value, at| value << 1 | bit(at))
        };
        Ok((0..count).map(one).collect())
    }

    /// What was read, if nothing is left.
    fn end<T>(&self, read: T) -> Result<T, String> {
        match self.0.len() {
            0 => Ok(read),
            more => Err(format!("{more} bytes more than `{FILE}` says")),
        }
    }
}
