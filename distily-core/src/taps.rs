use std::collections::{BTreeMap, BTreeSet};

/// An intermediate result of one layer (a decoder block).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// The block's output, `[batch, seq, width]`, before any final norm.
    Hidden,
    /// The queries, `[batch, heads, seq, head_width]`, before rotary positions.
    Query,
    /// The keys, `[batch, kv_heads, seq, head_width]`, before rotary positions.
    Key,
    /// The values, `[batch, kv_heads, seq, head_width]`.
    Value,
    /// The attention weights after the softmax, `[batch, heads, seq, seq]`.
    Attention,
}

/// Which intermediate results a forward pass keeps.
///
/// A model neither computes nor holds what nobody tapped. Layers are blocks, numbered from 0; the
/// embedding is not a layer (it has a tap of its own, [`Taps::with_embedding`]).
///
/// ```
/// use distily_core::{Feature, Taps};
///
/// let hidden = Taps::none().with(2, Feature::Hidden);
/// let both = hidden.union(&Taps::logits());
/// assert!(both.wants_logits());
/// assert_eq!(both.last_layer(), Some(2));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taps {
    logits: bool,
    features_only: bool,
    embedding: bool,
    layers: BTreeMap<usize, BTreeSet<Feature>>,
}

impl Taps {
    /// Nothing but the final hidden state, which every forward pass returns.
    pub fn none() -> Self {
        Self::default()
    }

    /// Nothing, not even the final hidden state: what no tapped feature needs is not computed, such
    /// as the layers after the last that is tapped.
    ///
    /// ```
    /// use distily_core::{Feature, Taps};
    ///
    /// let hidden = Taps::features_only().with(2, Feature::Hidden);
    /// assert!(!hidden.wants_output());
    /// assert!(hidden.union(&Taps::none()).wants_output());
    /// ```
    pub fn features_only() -> Self {
        Self {
            features_only: true,
            ..Self::default()
        }
    }

    /// The logits.
    pub fn logits() -> Self {
        Self {
            logits: true,
            ..Self::default()
        }
    }

    /// These taps and the embedding output.
    pub fn with_embedding(mut self) -> Self {
        self.embedding = true;
        self
    }

    /// These taps and one feature of one layer (from 0).
    pub fn with(mut self, layer: usize, feature: Feature) -> Self {
        self.layers.entry(layer).or_default().insert(feature);
        self
    }

    /// All that either asks for.
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.logits |= other.logits;
        union.features_only &= other.features_only;
        union.embedding |= other.embedding;
        for (&layer, features) in &other.layers {
            union.layers.entry(layer).or_default().extend(features);
        }
        union
    }

    /// Whether the logits are kept.
    pub fn wants_logits(&self) -> bool {
        self.logits
    }

    /// Whether the final hidden state is read.
    pub fn wants_output(&self) -> bool {
        self.logits || !self.features_only
    }

    /// Whether the embedding output is kept.
    pub fn wants_embedding(&self) -> bool {
        self.embedding
    }

    /// Whether `feature` of `layer` is kept.
    pub fn wants(&self, layer: usize, feature: Feature) -> bool {
        self.layers
            .get(&layer)
            .is_some_and(|features| features.contains(&feature))
    }

    /// Whether anything of `layer` is kept.
    pub fn wants_any(&self, layer: usize) -> bool {
        self.layers.contains_key(&layer)
    }

    /// The deepest layer of which anything is kept.
    pub fn last_layer(&self) -> Option<usize> {
        self.layers.keys().next_back().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_union_keeps_what_either_wants() {
        let a = Taps::none().with(1, Feature::Hidden).with_embedding();
        let b = Taps::logits()
            .with(1, Feature::Query)
            .with(5, Feature::Value);
        for union in [a.union(&b), b.union(&a)] {
            assert!(union.wants_logits() && union.wants_embedding());
            assert!(union.wants(1, Feature::Hidden) && union.wants(1, Feature::Query));
            assert!(union.wants(5, Feature::Value) && !union.wants_any(0));
            assert_eq!(union.last_layer(), Some(5));
        }
        assert_eq!(a.union(&Taps::none()), a);
    }
}
