use thiserror::Error;

/// The deepest model that a layer map is made for.
///
/// Depths come from files: without a limit, a wrong one would be an overflow or an allocation of
/// any size.
pub const MAX_LAYERS: usize = 4096;

/// Why there is no layer map.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
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
    /// A model with more than [`MAX_LAYERS`] layers.
    #[error(
        "a layer map needs at most {MAX_LAYERS} layers on each side, got {student} (student) and \
         {teacher} (teacher): check the models' configs"
    )]
    TooManyLayers {
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
    /// A rule that has something for each student layer only where the teacher is as deep.
    #[error(
        "the map `{map}` needs a teacher at least as deep as its student, got {student} (student) \
         and {teacher} (teacher): use `uniform`"
    )]
    StudentDeeper {
        /// The rule, as a config file says it.
        map: &'static str,
        /// Layers of the student.
        student: usize,
        /// Layers of the teacher.
        teacher: usize,
    },
    /// `k` is 0, or more than the layers of either model.
    #[error(
        "the map `{map}`: `k`: got {k}, expected 1 or more, and no more than the {student} layers \
         of the student and the {teacher} of the teacher"
    )]
    KOutOfRange {
        /// The rule, as a config file says it.
        map: &'static str,
        /// What was asked for.
        k: usize,
        /// Layers of the student.
        student: usize,
        /// Layers of the teacher.
        teacher: usize,
    },
    /// No pairs.
    #[error("`pairs` is empty: name at least one pair [student layer, teacher layer]")]
    NoPairs,
    /// A pair of a layer that is not there.
    #[error(
        "pair [{}, {}]: no such layer in the {model}: got {layer}, expected less than {depth}, \
         its number of layers (they count from 0)",
        pair.0, pair.1
    )]
    NoSuchLayer {
        /// The pair (student, teacher).
        pair: (usize, usize),
        /// `student` or `teacher`.
        model: &'static str,
        /// The layer.
        layer: usize,
        /// Layers of that model.
        depth: usize,
    },
    /// A pair given twice, which would count double.
    #[error("pair [{}, {}]: got it twice, expected it once: remove one", pair.0, pair.1)]
    PairTwice {
        /// The pair (student, teacher).
        pair: (usize, usize),
    },
}

/// Whether a layer map can be made for these depths at all.
pub(crate) fn check_depths(student: usize, teacher: usize) -> Result<(), LayerMapError> {
    if student == 0 || teacher == 0 {
        return Err(LayerMapError::NoLayers { student, teacher });
    }
    if student > MAX_LAYERS || teacher > MAX_LAYERS {
        return Err(LayerMapError::TooManyLayers { student, teacher });
    }
    Ok(())
}
