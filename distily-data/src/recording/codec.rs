use super::RecordingError;
use distily_core::Seed;
use serde::{Deserialize, Serialize};

/// What is kept of a teacher's distribution at each token.
///
/// ```
/// use distily_data::Codec;
///
/// // What configuration files say.
/// let codec: Codec = serde_json::from_str(r#"{ "codec": "top_k", "k": 64, "p": 0.98 }"#)?;
/// assert_eq!(codec, Codec::TopK { k: 64, p: 0.98 });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "codec", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Codec {
    /// The log-probabilities of all ids, as f16. It serves every temperature, and is recorded at 1.
    Full,
    /// The likeliest ids with their log-probabilities, as f16, and the mass of all others.
    TopK {
        /// At most so many ids.
        k: usize,
        /// No more ids than it takes to hold this mass; 1 for all k.
        #[serde(default = "one")]
        p: f64,
    },
    /// Ids drawn at random with replacement, and how often each came (random sampling KD, ACL 2025).
    Sampled {
        /// How many are drawn.
        draws: usize,
        /// Of the draws: they depend on it and on the row's place in the recording alone.
        seed: Seed,
    },
}

fn one() -> f64 {
    1.0
}

/// The most ids that a token may have, but in [`Codec::Full`]: their number is a u16.
const MOST: usize = u16::MAX as usize;

impl Codec {
    /// The most ids of a token, of so large a vocabulary.
    pub(super) fn most_ids(&self, vocabulary: usize) -> usize {
        match *self {
            Self::Full => vocabulary,
            Self::TopK { k, .. } => k.min(vocabulary),
            Self::Sampled { draws, .. } => draws.min(vocabulary),
        }
    }

    pub(super) fn check(&self, temperature: f64) -> Result<(), RecordingError> {
        let config = |field, got: String, expected| {
            Err(RecordingError::Config {
                field,
                got,
                expected,
            })
        };
        if !(temperature.is_finite() && temperature > 0.0) {
            return config("temperature", temperature.to_string(), "a number above 0");
        }
        match *self {
            Self::Full if temperature != 1.0 => {
                let expected = "1: a full recording serves every temperature";
                config("temperature", temperature.to_string(), expected)
            }
            Self::TopK { k, .. } if k == 0 || k > MOST => {
                config("k", k.to_string(), "1 to 65535, or the full codec")
            }
            Self::TopK { p, .. } if !(p > 0.0 && p <= 1.0) => {
                config("p", p.to_string(), "a number above 0, at most 1")
            }
            Self::Sampled { draws, .. } if draws == 0 || draws > MOST => {
                config("draws", draws.to_string(), "1 to 65535")
            }
            _ => Ok(()),
        }
    }
}
