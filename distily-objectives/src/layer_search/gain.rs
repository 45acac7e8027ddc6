/// How far each score of a teacher layer stands out among the student's layers: the mean over these
/// of ln(1 - score), less its own.
///
/// Scores alone say above all how easy a teacher layer is. The early ones, little more than the
/// embedding, score most with every student layer; which of the student's layers is nearest shows
/// only in comparison. The logarithm lets a layer that leaves nothing unexplained win over all that
/// stand out less exactly. A student of one layer has nothing to compare.
pub(super) fn gains(scores: &[Vec<f64>]) -> Vec<Vec<f64>> {
    // Below this, what is unexplained is rounding.
    let unexplained = |score: &f64| (1.0 - score).max(1e-6).ln();
    let unexplained: Vec<Vec<f64>> = scores
        .iter()
        .map(|row| row.iter().map(unexplained).collect())
        .collect();
    let rows = unexplained.len();
    let mean = |column: usize| match rows {
        1 => 0.0,
        _ => unexplained.iter().map(|row| row[column]).sum::<f64>() / rows as f64,
    };
    let means: Vec<f64> = (0..scores.first().map_or(0, Vec::len)).map(mean).collect();
    let gain = |row: &Vec<f64>| row.iter().zip(&means).map(|(x, mean)| mean - x).collect();
    unexplained.iter().map(gain).collect()
}

#[cfg(test)]
mod tests {
    use super::super::monotone::{best, monotone};
    use super::*;

    /// The R² of the quickstart's student, trained, with the six layers of its teacher, of which it
    /// was made of 0, 2 and 5.
    #[test]
    fn blocks_are_found_again_in_a_trained_student() {
        let scores = [
            vec![0.796, 0.750, 0.728, 0.704, 0.677, 0.659],
            vec![0.773, 0.746, 0.732, 0.709, 0.682, 0.663],
            vec![0.742, 0.721, 0.708, 0.691, 0.666, 0.652],
        ];
        assert_eq!(best(&scores), [0, 0, 0]);
        assert_eq!(best(&gains(&scores)), [0, 2, 5]);
        assert_eq!(monotone(&gains(&scores)), [0, 2, 5]);
    }

    #[test]
    fn a_perfect_score_wins() {
        let scores = [vec![1.0, 0.9, 0.4], vec![0.99, 1.0, 0.6]];
        assert_eq!(best(&gains(&scores)), [0, 1]);
    }

    #[test]
    fn the_one_layer_of_a_student_gets_its_best() {
        assert_eq!(best(&gains(&[vec![0.1, 0.7, 0.5]])), [1]);
    }
}
