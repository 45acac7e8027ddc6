use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The seed of a run, from which every generator is derived.
///
/// Randomness never comes from a device (burn's CPU backend has one generator per process, which
/// parallel tests disturb). Each purpose has a generator of its own for each step, so that the same
/// run twice is the same bits, and a resumed run is the unbroken one.
///
/// ```
/// use distily_core::Seed;
/// use rand::Rng;
///
/// let seed = Seed(42);
/// let mut first = seed.generator("shuffle", 7);
/// assert_eq!(first.next_u64(), seed.generator("shuffle", 7).next_u64());
/// assert_ne!(first.next_u64(), seed.generator("dropout", 7).next_u64());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The generator of one purpose at one step: ChaCha8 keyed by the BLAKE3 hash of all three.
    pub fn generator(&self, purpose: &str, step: u64) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new_derive_key("distily random generator");
        hasher.update(&self.0.to_le_bytes());
        hasher.update(&step.to_le_bytes());
        hasher.update(purpose.as_bytes());
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}
