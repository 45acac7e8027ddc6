use super::LayerScore;
use distily_layermap::LayerMap;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a [`LayerSearch`](crate::LayerSearch) found: a map, and the scores that it comes from.
///
/// [`Display`](fmt::Display) prints the table, in which `*` marks the pairs of the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundLayers {
    /// One teacher layer for each student layer.
    pub map: LayerMap,
    /// What the scores are.
    pub score: LayerScore,
    /// `[student layer][teacher layer]`, 0 to 1, of which 1 is the best.
    pub scores: Vec<Vec<f64>>,
}

/// One line for each student layer. No line break at the end.
impl fmt::Display for FoundLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let score = match self.score {
            LayerScore::Cka => "CKA",
            LayerScore::LinearFit => "R² of a linear fit",
        };
        write!(f, "{score}, for each teacher layer\nstudent")?;
        for layer in 0..self.map.teacher_depth() {
            write!(f, "{layer:>7}")?;
        }
        for ((student, chosen), scores) in self.map.by_student().zip(&self.scores) {
            write!(f, "\n{student:>7}")?;
            for (layer, score) in scores.iter().enumerate() {
                let mark = if chosen.contains(&layer) { "*" } else { "" };
                write!(f, "{:>7}", format!("{mark}{score:.3}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prints_as_a_table_and_is_read_back() {
        let found = FoundLayers {
            map: LayerMap::new(2, 3, [(0, 0), (1, 2)]).unwrap(),
            score: LayerScore::Cka,
            scores: vec![vec![0.75, 0.5, 0.0625], vec![0.0, 0.25, 1.0]],
        };
        let expected = "
CKA, for each teacher layer
student      0      1      2
      0 *0.750  0.500  0.062
      1  0.000  0.250 *1.000
";
        assert_eq!(format!("\n{found}\n"), expected);
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<FoundLayers>(&json).unwrap(), found);
    }
}
