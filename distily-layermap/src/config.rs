use crate::LayerMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A rule that pairs layers, as a config file says it: `"uniform"` (2310.08797, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LayerMapConfig {
    /// The last student layer learns from the last teacher layer.
    Last,
    /// Each student layer learns from the same teacher layer; for equal depths.
    All,
    /// The student's layers are spread evenly over the teacher's, the last on the last: student
    /// layer i (of s) learns from teacher layer ceil((i + 1) t / s) - 1 (of t). A student deeper
    /// than its teacher visits each teacher layer more than once.
    Uniform,
}

/// Why a rule can't be applied.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerMapError {
    /// A model without layers.
    #[error(
        "a layer map needs layers on both sides, got {student} (student) and {teacher} (teacher)"
    )]
    NoLayers {
        /// Layers of the student.
        student: usize,
        /// Layers of the teacher.
        teacher: usize,
    },
    /// `all` for unequal depths.
    #[error(
        "the map `all` needs equal depths, got {student} (student) and {teacher} (teacher): use `uniform`"
    )]
    UnequalDepths {
        /// Layers of the student.
        student: usize,
        /// Layers of the teacher.
        teacher: usize,
    },
}

impl LayerMapConfig {
    /// The map for these depths.
    ///
    /// # Errors
    ///
    /// [`LayerMapError`] where the rule has no meaning for them.
    pub fn build(self, student: usize, teacher: usize) -> Result<LayerMap, LayerMapError> {
        if student == 0 || teacher == 0 {
            return Err(LayerMapError::NoLayers { student, teacher });
        }
        Ok(LayerMap(match self {
            Self::Last => vec![(student - 1, teacher - 1)],
            Self::All if student != teacher => {
                return Err(LayerMapError::UnequalDepths { student, teacher });
            }
            Self::All => (0..student).map(|layer| (layer, layer)).collect(),
            Self::Uniform => (0..student)
                .map(|layer| (layer, ((layer + 1) * teacher).div_ceil(student) - 1))
                .collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold_for_all_depths() {
        for student in 1..=48 {
            for teacher in 1..=48 {
                for rule in [
                    LayerMapConfig::Last,
                    LayerMapConfig::All,
                    LayerMapConfig::Uniform,
                ] {
                    let Ok(map) = rule.build(student, teacher) else {
                        assert!(rule == LayerMapConfig::All && student != teacher);
                        continue;
                    };
                    let pairs = map.pairs();
                    assert!(pairs.iter().all(|&(s, t)| s < student && t < teacher));
                    assert!(pairs.is_sorted());
                    assert!(pairs.iter().map(|pair| pair.1).is_sorted());
                    assert_eq!(*pairs.last().unwrap(), (student - 1, teacher - 1));
                    if rule != LayerMapConfig::Last {
                        assert!(pairs.iter().map(|pair| pair.0).eq(0..student));
                    }
                    if rule == LayerMapConfig::Uniform && student <= teacher {
                        assert!(pairs.windows(2).all(|w| w[0].1 < w[1].1), "a layer twice");
                        let gaps: Vec<_> = pairs.windows(2).map(|w| w[1].1 - w[0].1).collect();
                        let spread = gaps.iter().max().zip(gaps.iter().min());
                        assert!(spread.is_none_or(|(most, least)| most - least <= 1));
                    }
                }
            }
        }
    }

    #[test]
    fn a_rule_is_a_word_in_a_config() {
        let rule: LayerMapConfig = serde_json::from_str("\"uniform\"").unwrap();
        assert_eq!(rule, LayerMapConfig::Uniform);
        assert!(serde_json::from_str::<LayerMapConfig>("\"unifrom\"").is_err());
    }

    #[test]
    fn what_has_no_meaning_is_an_error() {
        assert!(LayerMapConfig::Uniform.build(0, 3).is_err());
        assert_eq!(
            LayerMapConfig::All.build(2, 3).unwrap_err().to_string(),
            "the map `all` needs equal depths, got 2 (student) and 3 (teacher): use `uniform`"
        );
    }
}
