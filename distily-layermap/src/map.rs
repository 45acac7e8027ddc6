use std::fmt;

/// Pairs of a student layer and the teacher layer that it learns from, both from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerMap(pub(crate) Vec<(usize, usize)>);

impl LayerMap {
    /// The pairs (student, teacher), by student layer.
    pub fn pairs(&self) -> &[(usize, usize)] {
        &self.0
    }
}

impl fmt::Display for LayerMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (student, teacher)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{student} <- {teacher}")?;
        }
        Ok(())
    }
}
