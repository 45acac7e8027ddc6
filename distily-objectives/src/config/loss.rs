use crate::feature_term::FeatureLoss;
use crate::{
    RelationHeadsError, attention_kl, attention_mse, check_relation_heads, cka, cosine, dist,
    hidden_mse, info_nce, logsum, relation_kl, relation_mse, relation_normalized_kl,
};
use distily_core::{Feature, ModelShape};
use distily_kernels::Divergence;
use serde::{Deserialize, Serialize};

/// A loss by name: `"forward_kl"`, or with its parameters, `{ skew_kl = { alpha = 0.1 } }`.
/// Parameters that are not said are the papers'.
///
/// Losses on the output distribution are described at [`Divergence`], losses on features at the
/// functions that they name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum LossConfig {
    /// [`Divergence::ForwardKl`].
    ForwardKl,
    /// [`Divergence::ReverseKl`].
    ReverseKl,
    /// [`Divergence::SoftCrossEntropy`].
    SoftCrossEntropy,
    /// [`Divergence::MixedKl`].
    MixedKl {
        /// The share of the reverse KL, 0 to 1.
        #[serde(default = "half")]
        reverse_share: f64,
    },
    /// [`Divergence::JensenShannon`].
    JensenShannon {
        /// β, 0 to 1.
        #[serde(default = "half")]
        beta: f64,
    },
    /// [`Divergence::SkewKl`].
    SkewKl {
        /// α, at least 0 and less than 1.
        #[serde(default = "tenth")]
        alpha: f64,
    },
    /// [`Divergence::SkewReverseKl`].
    SkewReverseKl {
        /// α, at least 0 and less than 1.
        #[serde(default = "tenth")]
        alpha: f64,
    },
    /// [`Divergence::AdaptiveKl`].
    AdaptiveKl {
        /// The mass of the head, 0 to 1.
        #[serde(default = "half")]
        head_mass: f64,
    },
    /// [`Divergence::TotalVariation`].
    TotalVariation,
    /// [`Divergence::AlphaBeta`].
    AlphaBeta {
        /// α.
        alpha: f64,
        /// β.
        beta: f64,
    },
    /// [`Divergence::ProbabilitiesMse`].
    ProbabilitiesMse,
    /// [`Divergence::LogitsMse`].
    LogitsMse,
    /// See [`top_k_kl`](crate::top_k_kl).
    TopKKl {
        /// How many ids of each token, 1 or more.
        k: usize,
    },
    /// See [`sampled_kl`](crate::sampled_kl).
    SampledKl {
        /// How many ids are drawn for each token, 1 or more.
        draws: usize,
    },
    /// See [`uld`](crate::uld); the vocabularies may be two.
    Uld,
    /// See [`sinkhorn`](crate::sinkhorn).
    Sinkhorn {
        /// ε, above 0.
        #[serde(default = "tenth")]
        epsilon: f64,
        /// Iterations, 1 or more.
        #[serde(default = "twenty")]
        iterations: usize,
    },
    /// See [`cross_entropy`](crate::cross_entropy).
    CrossEntropy,
    /// Of hidden states, see [`hidden_mse`].
    HiddenMse,
    /// Of hidden states, see [`cosine`].
    Cosine,
    /// Of hidden states, see [`logsum`].
    Logsum {
        /// α, above 1.
        #[serde(default = "four")]
        alpha: f64,
        /// The norm below which the loss goes flat, above 0.
        #[serde(default = "one")]
        floor: f64,
    },
    /// Of hidden states, see [`cka`]; it needs no projector.
    Cka,
    /// Of hidden states, see [`info_nce`].
    InfoNce {
        /// The temperature τ, above 0.
        #[serde(default = "tenth")]
        tau: f64,
    },
    /// Of hidden states, see [`dist`].
    Dist {
        /// The weight of the correlation within a token, 0 or more.
        #[serde(default = "one")]
        within: f64,
        /// The weight of the correlation between tokens, 0 or more.
        #[serde(default = "one")]
        between: f64,
    },
    /// Of queries, keys and values, see [`relation_mse`].
    RelationMse {
        /// The relation heads; see [`RelationKl`](Self::RelationKl).
        #[serde(default)]
        heads: Option<usize>,
        /// Of what; all three if not said.
        #[serde(default = "queries_keys_and_values")]
        of: Vec<Relation>,
    },
    /// Of queries, keys and values, see [`relation_kl`].
    RelationKl {
        /// The relation heads, which must divide each width of either side. If not said, the most
        /// of which each holds whole attention heads on both sides.
        #[serde(default)]
        heads: Option<usize>,
        /// Of what; all three if not said.
        #[serde(default = "queries_keys_and_values")]
        of: Vec<Relation>,
    },
    /// Of queries, keys and values, see [`relation_normalized_kl`].
    RelationNormalizedKl {
        /// The relation heads; see [`RelationKl`](Self::RelationKl).
        #[serde(default)]
        heads: Option<usize>,
        /// Of what; all three if not said.
        #[serde(default = "queries_keys_and_values")]
        of: Vec<Relation>,
        /// The temperature τ, above 0.
        #[serde(default = "one")]
        tau: f64,
    },
    /// Of attention maps, see [`attention_mse`].
    AttentionMse,
    /// Of attention maps, see [`attention_kl`].
    AttentionKl,
}

/// What a relation loss relates tokens by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The queries, before rotary positions.
    Query,
    /// The keys, before rotary positions.
    Key,
    /// The values.
    Value,
}

impl Relation {
    pub(crate) fn feature(self) -> Feature {
        match self {
            Self::Query => Feature::Query,
            Self::Key => Feature::Key,
            Self::Value => Feature::Value,
        }
    }

    fn width(self, model: &ModelShape) -> usize {
        let heads = match self {
            Self::Query => model.heads,
            Self::Key | Self::Value => model.kv_heads,
        };
        heads * model.head_width
    }
}

/// Why a loss on features can't compare two models; the config says of which term.
pub(super) enum Misfit {
    Heads(RelationHeadsError),
    NoRelations,
    NoAttention { side: &'static str },
}

impl LossConfig {
    /// As a config spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ForwardKl => "forward_kl",
            Self::ReverseKl => "reverse_kl",
            Self::SoftCrossEntropy => "soft_cross_entropy",
            Self::MixedKl { .. } => "mixed_kl",
            Self::JensenShannon { .. } => "jensen_shannon",
            Self::SkewKl { .. } => "skew_kl",
            Self::SkewReverseKl { .. } => "skew_reverse_kl",
            Self::AdaptiveKl { .. } => "adaptive_kl",
            Self::TotalVariation => "total_variation",
            Self::AlphaBeta { .. } => "alpha_beta",
            Self::ProbabilitiesMse => "probabilities_mse",
            Self::LogitsMse => "logits_mse",
            Self::TopKKl { .. } => "top_k_kl",
            Self::SampledKl { .. } => "sampled_kl",
            Self::Uld => "uld",
            Self::Sinkhorn { .. } => "sinkhorn",
            Self::CrossEntropy => "cross_entropy",
            Self::HiddenMse => "hidden_mse",
            Self::Cosine => "cosine",
            Self::Logsum { .. } => "logsum",
            Self::Cka => "cka",
            Self::InfoNce { .. } => "info_nce",
            Self::Dist { .. } => "dist",
            Self::RelationMse { .. } => "relation_mse",
            Self::RelationKl { .. } => "relation_kl",
            Self::RelationNormalizedKl { .. } => "relation_normalized_kl",
            Self::AttentionMse => "attention_mse",
            Self::AttentionKl => "attention_kl",
        }
    }

    /// The divergence that it names, if it names one.
    pub fn divergence(&self) -> Option<Divergence> {
        Some(match *self {
            Self::ForwardKl => Divergence::ForwardKl,
            Self::ReverseKl => Divergence::ReverseKl,
            Self::SoftCrossEntropy => Divergence::SoftCrossEntropy,
            Self::MixedKl { reverse_share } => Divergence::MixedKl { reverse_share },
            Self::JensenShannon { beta } => Divergence::JensenShannon { beta },
            Self::SkewKl { alpha } => Divergence::SkewKl { alpha },
            Self::SkewReverseKl { alpha } => Divergence::SkewReverseKl { alpha },
            Self::AdaptiveKl { head_mass } => Divergence::AdaptiveKl { head_mass },
            Self::TotalVariation => Divergence::TotalVariation,
            Self::AlphaBeta { alpha, beta } => Divergence::AlphaBeta { alpha, beta },
            Self::ProbabilitiesMse => Divergence::ProbabilitiesMse,
            Self::LogitsMse => Divergence::LogitsMse,
            _ => return None,
        })
    }

    /// The loss on features that it names, for two models; `None` for losses on the output.
    pub(super) fn of_features(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<Option<FeatureLoss>, Misfit> {
        let relation = |heads: &Option<usize>, of: &[Relation]| {
            relation_heads(*heads, of, student, teacher).map(|heads| (heads, features(of)))
        };
        let attention = || match (student.heads, teacher.heads) {
            (0, _) => Err(Misfit::NoAttention { side: "student" }),
            (_, 0) => Err(Misfit::NoAttention { side: "teacher" }),
            _ => Ok(vec![Feature::Attention]),
        };
        Ok(Some(match self {
            Self::HiddenMse => FeatureLoss::hidden(hidden_mse),
            Self::Cosine => FeatureLoss::hidden(cosine),
            &Self::Logsum { alpha, floor } => {
                FeatureLoss::hidden(move |s, t, w| logsum(s, t, w, alpha, floor))
            }
            Self::Cka => FeatureLoss::hidden(cka),
            &Self::InfoNce { tau } => FeatureLoss::hidden(move |s, t, w| info_nce(s, t, w, tau)),
            &Self::Dist { within, between } => {
                FeatureLoss::hidden(move |s, t, w| dist(s, t, w, within, between))
            }
            Self::RelationMse { heads, of } => {
                let (heads, of) = relation(heads, of)?;
                FeatureLoss::heads(of, move |s, t, segments, w| {
                    relation_mse(s, t, segments, w, heads)
                })
            }
            Self::RelationKl { heads, of } => {
                let (heads, of) = relation(heads, of)?;
                FeatureLoss::heads(of, move |s, t, segments, w| {
                    relation_kl(s, t, segments, w, heads)
                })
            }
            &Self::RelationNormalizedKl {
                ref heads,
                ref of,
                tau,
            } => {
                let (heads, of) = relation(heads, of)?;
                FeatureLoss::heads(of, move |s, t, segments, w| {
                    relation_normalized_kl(s, t, segments, w, heads, tau)
                })
            }
            Self::AttentionMse => {
                FeatureLoss::heads(attention()?, |s, t, _, w| attention_mse(s, t, w))
            }
            Self::AttentionKl => {
                FeatureLoss::heads(attention()?, |s, t, _, w| attention_kl(s, t, w))
            }
            _ => return Ok(None),
        }))
    }

    /// Whether it compares hidden states, and so may have a norm and projectors.
    pub(super) fn compares_hidden_states(&self) -> bool {
        matches!(
            self,
            Self::HiddenMse
                | Self::Cosine
                | Self::Logsum { .. }
                | Self::Cka
                | Self::InfoNce { .. }
                | Self::Dist { .. }
        )
    }

    /// Its parameters with their names, what they are, and whether they are allowed.
    pub(super) fn parameters(&self) -> Vec<(&'static str, f64, bool, &'static str)> {
        let unit = |name, value: f64| (name, value, (0.0..=1.0).contains(&value), "0 to 1");
        let skew = |value: f64| {
            let allowed = (0.0..1.0).contains(&value);
            ("alpha", value, allowed, "at least 0 and less than 1")
        };
        let finite = |name, value: f64| (name, value, value.is_finite(), "a finite number");
        let above = |name, value: f64, least: f64, expected| {
            let allowed = value > least && value.is_finite();
            (name, value, allowed, expected)
        };
        let at_least_one = |name, value: usize| (name, value as f64, value > 0, "1 or more");
        let not_negative = |name, value: f64| {
            let allowed = value >= 0.0 && value.is_finite();
            (name, value, allowed, "0 or more")
        };
        match *self {
            Self::MixedKl { reverse_share } => vec![unit("reverse_share", reverse_share)],
            Self::JensenShannon { beta } => vec![unit("beta", beta)],
            Self::SkewKl { alpha } | Self::SkewReverseKl { alpha } => vec![skew(alpha)],
            Self::AdaptiveKl { head_mass } => vec![unit("head_mass", head_mass)],
            Self::AlphaBeta { alpha, beta } => vec![finite("alpha", alpha), finite("beta", beta)],
            Self::TopKKl { k } => vec![at_least_one("k", k)],
            Self::SampledKl { draws } => vec![at_least_one("draws", draws)],
            Self::Sinkhorn {
                epsilon,
                iterations,
            } => vec![
                above("epsilon", epsilon, 0.0, "a positive number"),
                at_least_one("iterations", iterations),
            ],
            Self::Logsum { alpha, floor } => vec![
                above("alpha", alpha, 1.0, "a number above 1"),
                above("floor", floor, 0.0, "a positive number"),
            ],
            Self::InfoNce { tau } | Self::RelationNormalizedKl { tau, .. } => {
                vec![above("tau", tau, 0.0, "a positive number")]
            }
            Self::Dist { within, between } => {
                vec![
                    not_negative("within", within),
                    not_negative("between", between),
                ]
            }
            _ => Vec::new(),
        }
    }
}

fn features(of: &[Relation]) -> Vec<Feature> {
    of.iter().map(|relation| relation.feature()).collect()
}

/// The relation heads, where they divide all widths.
fn relation_heads(
    heads: Option<usize>,
    of: &[Relation],
    student: &ModelShape,
    teacher: &ModelShape,
) -> Result<usize, Misfit> {
    if of.is_empty() {
        return Err(Misfit::NoRelations);
    }
    for (side, model) in [("student", student), ("teacher", teacher)] {
        if of.iter().any(|relation| relation.width(model) == 0) {
            return Err(Misfit::NoAttention { side });
        }
    }
    let most = |relation: &Relation| match relation {
        Relation::Query => greatest_common_divisor(student.heads, teacher.heads),
        _ => greatest_common_divisor(student.kv_heads, teacher.kv_heads),
    };
    let heads = heads.unwrap_or_else(|| of.iter().map(most).fold(0, greatest_common_divisor));
    for relation in of {
        check_relation_heads(heads, relation.width(student), relation.width(teacher))
            .map_err(Misfit::Heads)?;
    }
    Ok(heads)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

fn one() -> f64 {
    1.0
}

fn twenty() -> usize {
    20
}

fn four() -> f64 {
    4.0
}

fn half() -> f64 {
    0.5
}

fn tenth() -> f64 {
    0.1
}

fn queries_keys_and_values() -> Vec<Relation> {
    vec![Relation::Query, Relation::Key, Relation::Value]
}
