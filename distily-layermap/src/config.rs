use crate::error::check_depths;
use crate::{LayerMap, LayerMapError, consecutive, random, uniform};
use serde::{Deserialize, Serialize};

/// A rule that pairs layers, as a config file says it: `"uniform"`, `{ last_k = { k = 3 } }`.
///
/// Formulas count layers from 0: student layer i of s, and t teacher layers. The names are those of
/// Udagawa et al. (2310.08797), who count from 1. Which rule is best may matter little (Yu et al.,
/// 2502.04499): [`Reverse`](Self::Reverse) and [`Random`](Self::Random) are there to be compared
/// with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum LayerMapConfig {
    /// The last student layer learns from the last teacher layer.
    Last,
    /// The last k student layers learn from the last k teacher layers: i from t - s + i. For 4 and
    /// 8 layers and k = 2: 2 from 6, 3 from 7.
    LastK {
        /// How many; at most the layers of the student, and of the teacher.
        k: usize,
    },
    /// The last k student layers are spread evenly over all of the teacher, as in
    /// [`Uniform`](Self::Uniform). For 4 and 8 layers and k = 2: 2 from 3, 3 from 7.
    LastKUniform {
        /// How many; at most the layers of the student, and of the teacher.
        k: usize,
    },
    /// Each student layer learns from the same teacher layer; for equal depths.
    All,
    /// The student's layers are spread evenly over the teacher's, the last on the last: i learns
    /// from ceil((i + 1) t / s) - 1. For 4 and 8 layers: 1, 3, 5, 7. A student deeper than its
    /// teacher visits every teacher layer, and some more than once.
    Uniform,
    /// Groups of k = ceil(t / s) teacher layers, one for each student layer in turn: i learns from
    /// k i up to k (i + 1), exclusive. For teachers at least as deep as their student.
    ///
    /// This is the paper's form. Because k is rounded up, the teacher's layers may run out before
    /// the student's: where s does not divide t, the last group can be short, and **the last
    /// student layers can be left out**. For 5 and 12 layers, k = 3 and four groups take all of the
    /// teacher: student layer 4 learns nothing. For 20 and 32, k = 2 and 16 groups do: student
    /// layers 16 to 19 learn nothing. It is then not the last student layer that learns from the
    /// last teacher layer. [`UniformConsecutiveBalanced`](Self::UniformConsecutiveBalanced) leaves
    /// nobody out.
    UniformConsecutive,
    /// All of the teacher's layers in groups whose sizes differ by at most one, one for each
    /// student layer in turn: i learns from floor(i t / s) up to floor((i + 1) t / s), exclusive.
    /// Where s divides t, the same as [`UniformConsecutive`](Self::UniformConsecutive). For
    /// teachers at least as deep as their student. Not in the paper.
    UniformConsecutiveBalanced,
    /// Each student layer learns from two teacher layers: that of [`Uniform`](Self::Uniform), and
    /// t - s + i, of the last s. Where both are the same, as they are for the last student layer,
    /// it learns from that one, once. For teachers at least as deep as their student.
    UniformLast,
    /// [`Uniform`](Self::Uniform) with the teacher layers in the opposite order (2502.04499): the
    /// first student layer learns from the last teacher layer. A baseline.
    Reverse,
    /// Each student layer learns from a teacher layer drawn at random, in order and without
    /// repetition (2502.04499). A student deeper than its teacher visits each teacher layer as
    /// often as any other, or once more. A baseline.
    Random {
        /// The same seed draws the same layers.
        seed: u64,
    },
    /// These pairs.
    Explicit {
        /// The pairs (student layer, teacher layer), from 0, in any order: see [`LayerMap::new`].
        pairs: Vec<(usize, usize)>,
    },
}

impl LayerMapConfig {
    /// The map for a student and a teacher of so many layers.
    ///
    /// # Errors
    ///
    /// [`LayerMapError`] where the rule has no meaning for them.
    pub fn build(&self, student: usize, teacher: usize) -> Result<LayerMap, LayerMapError> {
        check_depths(student, teacher)?;
        let pairs = match self {
            Self::Last => vec![(student - 1, teacher - 1)],
            &Self::LastK { k } => {
                check_k("last_k", k, student, teacher)?;
                (student - k..student).zip(teacher - k..teacher).collect()
            }
            &Self::LastKUniform { k } => {
                check_k("last_k_uniform", k, student, teacher)?;
                let spread = uniform::spread(k, teacher);
                (student - k..student).zip(spread).collect()
            }
            Self::All if student != teacher => {
                return Err(LayerMapError::UnequalDepths { student, teacher });
            }
            Self::All => (0..student).zip(0..teacher).collect(),
            Self::Uniform => (0..student)
                .zip(uniform::spread(student, teacher))
                .collect(),
            Self::UniformConsecutive => {
                check_teacher_is_as_deep("uniform_consecutive", student, teacher)?;
                consecutive::ceil(student, teacher)
            }
            Self::UniformConsecutiveBalanced => {
                check_teacher_is_as_deep("uniform_consecutive_balanced", student, teacher)?;
                consecutive::balanced(student, teacher)
            }
            Self::UniformLast => {
                check_teacher_is_as_deep("uniform_last", student, teacher)?;
                let spread = uniform::spread(student, teacher);
                let last = teacher - student..teacher;
                let mut pairs: Vec<_> = (0..student)
                    .zip(spread.zip(last))
                    .flat_map(|(layer, (spread, last))| [(layer, spread), (layer, last)])
                    .collect();
                pairs.dedup();
                pairs
            }
            Self::Reverse => return Ok(Self::Uniform.build(student, teacher)?.reversed()),
            &Self::Random { seed } => (0..student)
                .zip(random::in_order(student, teacher, seed))
                .collect(),
            Self::Explicit { pairs } => pairs.clone(),
        };
        LayerMap::new(student, teacher, pairs)
    }
}

fn check_k(
    map: &'static str,
    k: usize,
    student: usize,
    teacher: usize,
) -> Result<(), LayerMapError> {
    if (1..=student.min(teacher)).contains(&k) {
        return Ok(());
    }
    Err(LayerMapError::KOutOfRange {
        map,
        k,
        student,
        teacher,
    })
}

fn check_teacher_is_as_deep(
    map: &'static str,
    student: usize,
    teacher: usize,
) -> Result<(), LayerMapError> {
    if student <= teacher {
        return Ok(());
    }
    Err(LayerMapError::StudentDeeper {
        map,
        student,
        teacher,
    })
}

#[cfg(test)]
mod tests {
    use super::LayerMapConfig::*;
    use super::*;

    /// Every rule, each k, by its name.
    fn rules(student: usize, teacher: usize) -> Vec<LayerMapConfig> {
        let mut rules = vec![
            Last,
            All,
            Uniform,
            UniformConsecutive,
            UniformConsecutiveBalanced,
            UniformLast,
            Reverse,
            Random { seed: 5 },
            Explicit {
                pairs: vec![(student - 1, 0), (0, teacher - 1)],
            },
        ];
        // One more than there is.
        for k in 0..=student.max(teacher) + 1 {
            rules.extend([LastK { k }, LastKUniform { k }]);
        }
        rules
    }

    /// What each rule promises: the error for these depths, if it has no meaning for them.
    fn expected_error(
        rule: &LayerMapConfig,
        student: usize,
        teacher: usize,
    ) -> Option<LayerMapError> {
        let k_out_of_range = |map, k| LayerMapError::KOutOfRange {
            map,
            k,
            student,
            teacher,
        };
        let deeper = |map| LayerMapError::StudentDeeper {
            map,
            student,
            teacher,
        };
        let fits = |k| 0 < k && k <= student && k <= teacher;
        match *rule {
            LastK { k } if !fits(k) => Some(k_out_of_range("last_k", k)),
            LastKUniform { k } if !fits(k) => Some(k_out_of_range("last_k_uniform", k)),
            All if student != teacher => Some(LayerMapError::UnequalDepths { student, teacher }),
            UniformConsecutive if student > teacher => Some(deeper("uniform_consecutive")),
            UniformConsecutiveBalanced if student > teacher => {
                Some(deeper("uniform_consecutive_balanced"))
            }
            UniformLast if student > teacher => Some(deeper("uniform_last")),
            Explicit { .. } if (student, teacher) == (1, 1) => {
                Some(LayerMapError::PairTwice { pair: (0, 0) })
            }
            _ => None,
        }
    }

    fn for_all_maps(law: impl Fn(&LayerMapConfig, &LayerMap)) {
        for student in 1..=48 {
            for teacher in 1..=48 {
                for rule in rules(student, teacher) {
                    let map = rule.build(student, teacher);
                    assert_eq!(
                        map.as_ref().err(),
                        expected_error(&rule, student, teacher).as_ref()
                    );
                    if let Ok(map) = map {
                        assert_eq!(map.student_depth(), student);
                        assert_eq!(map.teacher_depth(), teacher);
                        law(&rule, &map);
                    }
                }
            }
        }
    }

    #[test]
    fn pairs_are_in_range_and_sorted() {
        for_all_maps(|_, map| {
            let in_range = |pair: &(usize, usize)| {
                pair.0 < map.student_depth() && pair.1 < map.teacher_depth()
            };
            assert!(map.pairs().iter().all(in_range));
            assert!(map.pairs().is_sorted_by(|a, b| a < b));
        });
    }

    #[test]
    fn later_student_layers_never_learn_from_earlier_teacher_layers() {
        for_all_maps(|rule, map| {
            if matches!(rule, Reverse | Explicit { .. }) {
                return;
            }
            // With two teacher layers each: the earlier ones rise, and so do the later ones.
            let groups: Vec<_> = map.by_student().map(|group| group.1).collect();
            assert!(groups.iter().map(|group| group[0]).is_sorted());
            assert!(
                groups
                    .iter()
                    .map(|group| group[group.len() - 1])
                    .is_sorted()
            );
        });
    }

    #[test]
    fn the_last_learns_from_the_last() {
        for_all_maps(|rule, map| {
            let (student, teacher) = (map.student_depth(), map.teacher_depth());
            let promised = match rule {
                // Its last student layers may be left out.
                UniformConsecutive => map.student_layers().contains(&(student - 1)),
                Reverse | Random { .. } | Explicit { .. } => false,
                _ => true,
            };
            if promised {
                assert_eq!(map.pairs().last(), Some(&(student - 1, teacher - 1)));
            }
        });
    }

    #[test]
    fn no_student_layer_is_left_out() {
        for_all_maps(|rule, map| {
            let student = map.student_depth();
            let first = match *rule {
                Last => student - 1,
                LastK { k } | LastKUniform { k } => student - k,
                UniformConsecutive | Explicit { .. } => return,
                _ => 0,
            };
            assert!(map.student_layers().into_iter().eq(first..student));
        });
    }

    #[test]
    fn a_student_layer_has_as_many_teacher_layers_as_promised() {
        for_all_maps(|rule, map| {
            let (student, teacher) = (map.student_depth(), map.teacher_depth());
            let several = match rule {
                UniformLast => 1..=2,
                UniformConsecutive => 1..=teacher.div_ceil(student),
                UniformConsecutiveBalanced => teacher / student..=teacher.div_ceil(student),
                Explicit { .. } => 1..=2,
                _ => 1..=1,
            };
            assert!(
                map.by_student()
                    .all(|group| several.contains(&group.1.len()))
            );
        });
    }

    #[test]
    fn teacher_layers_are_covered_as_promised() {
        for_all_maps(|rule, map| {
            let (student, teacher) = (map.student_depth(), map.teacher_depth());
            let covered = map.teacher_layers();
            match *rule {
                Uniform | Reverse | Random { .. } => {
                    assert_eq!(covered.len(), student.min(teacher))
                }
                All | UniformConsecutive | UniformConsecutiveBalanced => {
                    assert!(covered.into_iter().eq(0..teacher));
                }
                LastK { k } => assert!(covered.into_iter().eq(teacher - k..teacher)),
                LastKUniform { k } => assert_eq!(covered.len(), k),
                UniformLast => {
                    assert!((teacher - student..teacher).all(|at| covered.contains(&at)))
                }
                Last => assert!(covered.into_iter().eq([teacher - 1])),
                Explicit { .. } => {}
            }
        });
    }

    #[test]
    fn rules_agree_where_they_mean_the_same() {
        for_all_maps(|rule, map| {
            let (student, teacher) = (map.student_depth(), map.teacher_depth());
            let same_as = |other: LayerMapConfig| {
                assert_eq!(Some(map), other.build(student, teacher).ok().as_ref());
            };
            match *rule {
                Last => {
                    same_as(LastK { k: 1 });
                    same_as(LastKUniform { k: 1 });
                }
                All => {
                    same_as(Uniform);
                    same_as(LastK { k: student });
                    same_as(UniformConsecutive);
                    same_as(UniformConsecutiveBalanced);
                    same_as(UniformLast);
                    same_as(Random { seed: 8 });
                }
                Uniform if student <= teacher => same_as(LastKUniform { k: student }),
                UniformLast => {
                    let of = |rule: LayerMapConfig| rule.build(student, teacher).unwrap();
                    let (uniform, last) = (of(Uniform), of(LastK { k: student }));
                    let mut both = [uniform.pairs(), last.pairs()].concat();
                    both.sort_unstable();
                    both.dedup();
                    assert_eq!(map.pairs(), both);
                }
                _ => {}
            }
            // What is explicit is what the rule said.
            same_as(Explicit {
                pairs: map.pairs().to_vec(),
            });
        });
    }

    #[test]
    fn reverse_is_uniform_backwards() {
        for_all_maps(|rule, map| {
            assert_eq!(&map.reversed().reversed(), map);
            if *rule == Reverse {
                let (student, teacher) = (map.student_depth(), map.teacher_depth());
                let uniform = Uniform.build(student, teacher).unwrap();
                assert_eq!(map.reversed(), uniform);
                assert_eq!(map.pairs()[0], (0, teacher - 1));
                let backwards = uniform.pairs().iter().rev().map(|pair| pair.1);
                assert!(map.pairs().iter().map(|pair| pair.1).eq(backwards));
            }
        });
    }

    #[test]
    fn random_is_its_seed() {
        let of = |seed| Random { seed }.build(12, 48).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn the_maps_of_4_and_8_layers() {
        let of = |rule: LayerMapConfig| rule.build(4, 8).unwrap().pairs().to_vec();
        assert_eq!(of(Last), [(3, 7)]);
        assert_eq!(of(LastK { k: 2 }), [(2, 6), (3, 7)]);
        assert_eq!(of(LastKUniform { k: 2 }), [(2, 3), (3, 7)]);
        assert_eq!(of(Uniform), [(0, 1), (1, 3), (2, 5), (3, 7)]);
        assert_eq!(
            of(UniformLast),
            [(0, 1), (0, 4), (1, 3), (1, 5), (2, 5), (2, 6), (3, 7)]
        );
        assert_eq!(of(Reverse), [(0, 7), (1, 5), (2, 3), (3, 1)]);
    }

    #[test]
    fn a_rule_is_a_word_in_a_config() {
        for (text, rule) in [
            (r#""last""#, Last),
            (r#"{"last_k":{"k":3}}"#, LastK { k: 3 }),
            (r#"{"last_k_uniform":{"k":3}}"#, LastKUniform { k: 3 }),
            (r#""all""#, All),
            (r#""uniform""#, Uniform),
            (r#""uniform_consecutive""#, UniformConsecutive),
            (
                r#""uniform_consecutive_balanced""#,
                UniformConsecutiveBalanced,
            ),
            (r#""uniform_last""#, UniformLast),
            (r#""reverse""#, Reverse),
            (r#"{"random":{"seed":3}}"#, Random { seed: 3 }),
            (
                r#"{"explicit":{"pairs":[[0,2],[1,5]]}}"#,
                Explicit {
                    pairs: vec![(0, 2), (1, 5)],
                },
            ),
        ] {
            let read: LayerMapConfig = serde_json::from_str(text).unwrap();
            assert_eq!(read, rule);
            assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        }
        for wrong in [
            r#""unifrom""#,
            r#""last_k""#,
            r#"{"last_k":{"k":-1}}"#,
            r#"{"last_k":{"k":3,"seed":1}}"#,
            r#"{"explicit":{"pairs":[[0,2,4]]}}"#,
        ] {
            assert!(serde_json::from_str::<LayerMapConfig>(wrong).is_err());
        }
    }

    #[test]
    fn what_has_no_meaning_is_an_error() {
        let error = |rule: LayerMapConfig, student, teacher| {
            rule.build(student, teacher).unwrap_err().to_string()
        };
        assert_eq!(
            error(Uniform, 0, 3),
            "a layer map needs layers on both sides, got 0 (student) and 3 (teacher)"
        );
        assert!(error(Uniform, usize::MAX, usize::MAX).contains("at most 4096 layers"));
        assert_eq!(
            error(All, 2, 3),
            "the map `all` needs equal depths, got 2 (student) and 3 (teacher): use `uniform`"
        );
        assert_eq!(
            error(UniformLast, 12, 6),
            "the map `uniform_last` needs a teacher at least as deep as its student, got 12 \
             (student) and 6 (teacher): use `uniform`"
        );
        assert_eq!(
            error(LastK { k: 7 }, 6, 12),
            "the map `last_k`: `k`: got 7, expected 1 or more, and no more than the 6 layers of the \
             student and the 12 of the teacher"
        );
        let pairs = vec![(0, 12)];
        assert!(error(Explicit { pairs }, 6, 12).starts_with("pair [0, 12]: no such layer"));
    }
}
