use crate::LayerMapError;
use crate::error::check_depths;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which teacher layers each student layer learns from.
///
/// A list of pairs (student layer, teacher layer), from 0, of two models of known depth: never
/// empty, sorted, no pair twice, every layer there. A student layer may have several teacher
/// layers, a teacher layer several student layers, and a layer may be in no pair.
///
/// It comes from a [`LayerMapConfig`](crate::LayerMapConfig), from [`LayerMap::new`] (a search, for
/// example), or from a file, and is checked each time. [`Display`](std::fmt::Display) draws it.
///
/// ```
/// use distily_layermap::LayerMap;
///
/// let map = LayerMap::new(2, 6, [(1, 5), (0, 1), (0, 2)])?;
/// let stored = serde_json::to_string(&map)?;
/// assert_eq!(stored, r#"{"student_depth":2,"teacher_depth":6,"pairs":[[0,1],[0,2],[1,5]]}"#);
/// assert_eq!(serde_json::from_str::<LayerMap>(&stored)?, map);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct LayerMap {
    student_depth: usize,
    teacher_depth: usize,
    pairs: Vec<(usize, usize)>,
}

/// What a file says, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "LayerMap")]
struct Unchecked {
    student_depth: usize,
    teacher_depth: usize,
    pairs: Vec<(usize, usize)>,
}

impl TryFrom<Unchecked> for LayerMap {
    type Error = LayerMapError;

    fn try_from(map: Unchecked) -> Result<Self, LayerMapError> {
        Self::new(map.student_depth, map.teacher_depth, map.pairs)
    }
}

impl LayerMap {
    /// The map of these pairs (student layer, teacher layer), in any order, for a student and a
    /// teacher of so many layers.
    ///
    /// # Errors
    ///
    /// [`LayerMapError`] for a depth of 0 or beyond [`MAX_LAYERS`](crate::MAX_LAYERS), for no
    /// pairs, for a layer that is not there, and for a pair given twice.
    pub fn new(
        student_depth: usize,
        teacher_depth: usize,
        pairs: impl IntoIterator<Item = (usize, usize)>,
    ) -> Result<Self, LayerMapError> {
        check_depths(student_depth, teacher_depth)?;
        let mut checked = Vec::new();
        for pair in pairs {
            for (model, layer, depth) in [
                ("student", pair.0, student_depth),
                ("teacher", pair.1, teacher_depth),
            ] {
                if layer >= depth {
                    return Err(LayerMapError::NoSuchLayer {
                        pair,
                        model,
                        layer,
                        depth,
                    });
                }
            }
            checked.push(pair);
        }
        checked.sort_unstable();
        if checked.is_empty() {
            return Err(LayerMapError::NoPairs);
        }
        if let Some(twice) = checked.windows(2).find(|two| two[0] == two[1]) {
            return Err(LayerMapError::PairTwice { pair: twice[0] });
        }
        Ok(Self {
            student_depth,
            teacher_depth,
            pairs: checked,
        })
    }

    /// The pairs (student layer, teacher layer), sorted; at least one.
    pub fn pairs(&self) -> &[(usize, usize)] {
        &self.pairs
    }

    /// Each student layer that learns, in order, with its teacher layers, in order.
    pub fn by_student(&self) -> impl Iterator<Item = (usize, Vec<usize>)> {
        self.pairs
            .chunk_by(|a, b| a.0 == b.0)
            .map(|group| (group[0].0, group.iter().map(|pair| pair.1).collect()))
    }

    /// The student layers that learn: what is to be tapped of the student.
    pub fn student_layers(&self) -> BTreeSet<usize> {
        self.pairs.iter().map(|pair| pair.0).collect()
    }

    /// The teacher layers that are learnt from: what is to be tapped of the teacher.
    pub fn teacher_layers(&self) -> BTreeSet<usize> {
        self.pairs.iter().map(|pair| pair.1).collect()
    }

    /// How many layers the student has, in the map or not.
    pub fn student_depth(&self) -> usize {
        self.student_depth
    }

    /// How many layers the teacher has, in the map or not.
    pub fn teacher_depth(&self) -> usize {
        self.teacher_depth
    }

    /// The same student layers with the teacher layers handed out in the opposite order: what the
    /// first learnt from, the last now learns from. Twice is the map itself.
    pub fn reversed(&self) -> Self {
        let groups: Vec<_> = self.by_student().collect();
        let opposite = groups.iter().zip(groups.iter().rev());
        Self {
            pairs: opposite
                .flat_map(|((student, _), (_, teacher))| {
                    teacher.iter().map(|&layer| (*student, layer))
                })
                .collect(),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Depths, and pairs of layers that are there.
    fn parts() -> impl Strategy<Value = (usize, usize, BTreeSet<(usize, usize)>)> {
        (1..=48_usize, 1..=48_usize).prop_flat_map(|(student, teacher)| {
            let pairs = prop::collection::btree_set((0..student, 0..teacher), 1..100);
            (Just(student), Just(teacher), pairs)
        })
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same_map((student, teacher, pairs) in parts()) {
            let map = LayerMap::new(student, teacher, pairs.clone()).unwrap();
            prop_assert!(map.pairs().iter().eq(&pairs));
            prop_assert_eq!(&LayerMap::new(student, teacher, pairs.into_iter().rev()).unwrap(), &map);
        }

        #[test]
        fn every_view_shows_the_same_pairs((student, teacher, pairs) in parts()) {
            let map = LayerMap::new(student, teacher, pairs.clone()).unwrap();
            let by_student = map
                .by_student()
                .flat_map(|(student, layers)| layers.into_iter().map(move |layer| (student, layer)));
            prop_assert!(by_student.eq(pairs.iter().copied()));
            prop_assert!(map.by_student().map(|group| group.0).eq(map.student_layers()));
            prop_assert!(map.student_layers().iter().all(|&at| pairs.iter().any(|pair| pair.0 == at)));
            prop_assert!(map.teacher_layers().iter().all(|&at| pairs.iter().any(|pair| pair.1 == at)));
            prop_assert!(pairs.iter().all(|pair| map.teacher_layers().contains(&pair.1)));
            prop_assert_eq!((map.student_depth(), map.teacher_depth()), (student, teacher));
        }

        #[test]
        fn reversed_twice_is_the_map_itself((student, teacher, pairs) in parts()) {
            let map = LayerMap::new(student, teacher, pairs).unwrap();
            let reversed = map.reversed();
            prop_assert_eq!(&reversed.reversed(), &map);
            prop_assert_eq!(reversed.student_layers(), map.student_layers());
            prop_assert_eq!(reversed.teacher_layers(), map.teacher_layers());
            // It holds what `new` promises.
            let (student, teacher) = (reversed.student_depth(), reversed.teacher_depth());
            prop_assert_eq!(&LayerMap::new(student, teacher, reversed.pairs().to_vec()).unwrap(), &reversed);
        }

        #[test]
        fn a_file_holds_the_whole_map((student, teacher, pairs) in parts()) {
            let map = LayerMap::new(student, teacher, pairs).unwrap();
            let json = serde_json::to_string(&map).unwrap();
            prop_assert_eq!(&serde_json::from_str::<LayerMap>(&json).unwrap(), &map);
            let toml = toml::to_string(&map).unwrap();
            prop_assert_eq!(&toml::from_str::<LayerMap>(&toml).unwrap(), &map);
        }
    }

    #[test]
    fn a_mistake_is_named() {
        let error = |pairs: &[(usize, usize)]| {
            let map = LayerMap::new(6, 12, pairs.iter().copied());
            map.unwrap_err().to_string()
        };
        assert_eq!(
            error(&[(0, 1), (5, 12)]),
            "pair [5, 12]: no such layer in the teacher: got 12, expected less than 12, its number \
             of layers (they count from 0)"
        );
        assert_eq!(
            error(&[(6, 11)]),
            "pair [6, 11]: no such layer in the student: got 6, expected less than 6, its number \
             of layers (they count from 0)"
        );
        assert_eq!(
            error(&[(3, 7), (0, 1), (3, 7)]),
            "pair [3, 7]: got it twice, expected it once: remove one"
        );
        assert_eq!(
            error(&[]),
            "`pairs` is empty: name at least one pair [student layer, teacher layer]"
        );
        assert_eq!(
            LayerMap::new(0, 12, [(0, 0)]).unwrap_err().to_string(),
            "a layer map needs layers on both sides, got 0 (student) and 12 (teacher)"
        );
        assert_eq!(
            LayerMap::new(6, 4097, [(0, 0)]).unwrap_err().to_string(),
            "a layer map needs at most 4096 layers on each side, got 6 (student) and 4097 \
             (teacher): check the models' configs"
        );
    }

    #[test]
    fn a_file_is_checked() {
        let read = |text| serde_json::from_str::<LayerMap>(text).unwrap_err();
        let error = read(r#"{ "student_depth": 2, "teacher_depth": 4, "pairs": [[0, 4]] }"#);
        assert!(error.to_string().contains("pair [0, 4]"), "{error}");
        let error = read(r#"{ "student_depth": 2, "teacher_depth": 4, "pairs": [], "k": 1 }"#);
        assert!(error.to_string().contains("unknown field `k`"), "{error}");
        let error = read(r#"{ "student_depth": 2, "teacher_depth": 4 }"#);
        assert!(
            error.to_string().contains("missing field `pairs`"),
            "{error}"
        );
    }
}
