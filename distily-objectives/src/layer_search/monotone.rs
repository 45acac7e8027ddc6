/// A column for each row, each to the right of that of the row above, with the largest sum. Where there
/// are more rows than columns, rows may share a column, but none goes back.
pub(super) fn monotone(scores: &[Vec<f64>]) -> Vec<usize> {
    let (rows, columns) = (scores.len(), scores.first().map_or(0, Vec::len));
    // Less its own number of steps, the column of a row is not left of that of the row above.
    let step = usize::from(rows <= columns);
    let free = columns - step * rows.saturating_sub(1);
    // Of the rows so far: the largest sum that ends in this column or left of it. A choice is the
    // column that it ends in.
    let mut sums = vec![0.0; free];
    let mut choices = Vec::new();
    for (row, scores) in scores.iter().enumerate() {
        let mut best = (f64::NEG_INFINITY, 0);
        let mut choice = Vec::new();
        for (column, (sum, score)) in sums.iter_mut().zip(&scores[step * row..]).enumerate() {
            if *sum + score > best.0 {
                best = (*sum + score, column);
            }
            *sum = best.0;
            choice.push(best.1);
        }
        choices.push(choice);
    }
    let mut column = free.saturating_sub(1);
    let mut path = Vec::new();
    for (row, choice) in choices.iter().enumerate().rev() {
        column = choice[column];
        path.push(column + step * row);
    }
    path.reverse();
    path
}

/// The column of the largest score of each row; of equals, the first.
pub(super) fn best(scores: &[Vec<f64>]) -> Vec<usize> {
    scores.chunks(1).map(|row| monotone(row)[0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every path of so many rows.
    fn paths(rows: usize, columns: usize) -> Vec<Vec<usize>> {
        (0..rows).fold(vec![vec![]], |paths, _| {
            let longer = |path: Vec<usize>| {
                let first = match path.last() {
                    None => 0,
                    Some(last) if rows <= columns => last + 1,
                    Some(last) => *last,
                };
                (first..columns).map(move |column| [&path[..], &[column]].concat())
            };
            paths.into_iter().flat_map(longer).collect()
        })
    }

    fn table() -> impl Strategy<Value = Vec<Vec<f64>>> {
        // Few values, so that many are equal.
        (1usize..6, 1usize..6).prop_flat_map(|(rows, columns)| {
            let score = (-3i8..3).prop_map(f64::from);
            prop::collection::vec(prop::collection::vec(score, columns), rows)
        })
    }

    proptest! {
        #[test]
        fn no_other_path_scores_more(scores in table()) {
            let sum = |path: &[usize]| -> f64 { scores.iter().zip(path).map(|(row, &at)| row[at]).sum() };
            let all = paths(scores.len(), scores[0].len());
            let largest = all.iter().map(|path| sum(path)).fold(f64::NEG_INFINITY, f64::max);
            let found = monotone(&scores);
            prop_assert!(all.contains(&found), "{found:?}");
            prop_assert_eq!(sum(&found), largest);
        }

        #[test]
        fn the_best_column_is_the_first_of_the_largest(scores in table()) {
            for (row, at) in scores.iter().zip(best(&scores)) {
                prop_assert!(row[..at].iter().all(|&score| score < row[at]));
                prop_assert!(row[at..].iter().all(|&score| score <= row[at]));
            }
        }
    }

    #[test]
    fn a_row_yields_where_the_sum_wants_it() {
        let scores = [vec![0.0, 0.2, 1.0], vec![0.9, 0.0, 0.8]];
        assert_eq!(best(&scores), [2, 0]);
        assert_eq!(monotone(&scores), [1, 2]);
        // Three rows must share two columns.
        let scores = [vec![0.0, 1.0], vec![1.0, 0.9], vec![1.0, 0.9]];
        assert_eq!(monotone(&scores), [1, 1, 1]);
    }
}
