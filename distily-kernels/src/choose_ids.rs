//! Which ids of one token's distribution are kept: on the host, for losses on some ids alone and for
//! recordings of teachers.

/// The probabilities of a token's logits at a temperature, in place of what `probabilities` held.
pub fn probabilities_of(logits: &[f32], temperature: f64, probabilities: &mut Vec<f64>) {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |&logit: &f32| (f64::from(logit - highest) / temperature).exp();
    probabilities.clear();
    probabilities.extend(logits.iter().map(weight));
    let total: f64 = probabilities.iter().sum();
    probabilities.iter_mut().for_each(|p| *p /= total);
}

/// The `k` likeliest ids with their probabilities, in no order; at least one, at most all. Of equals,
/// the larger ids.
///
/// # Panics
///
/// If there is no probability.
pub fn likeliest_ids(probabilities: &[f64], k: usize) -> Vec<(usize, f64)> {
    // Of numbers that are not negative, the bits sort as they do; the id is below them.
    let mut ranked: Vec<u128> = (0..)
        .zip(probabilities)
        .map(|(id, p)| u128::from(p.to_bits()) << 64 | id)
        .collect();
    let k = k.clamp(1, ranked.len());
    ranked.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
    ranked[..k]
        .iter()
        .map(|&ranked| ranked as u64 as usize)
        .map(|id| (id, probabilities[id]))
        .collect()
}

/// The ids that `points`, uniform in [0, 1), fall on, with how many fall on each; ids rise.
///
/// # Panics
///
/// If there is no probability.
pub fn drawn_ids(probabilities: &[f64], mut points: Vec<f64>) -> Vec<(usize, usize)> {
    // Sorted uniform numbers meet the ids in one pass.
    points.sort_unstable_by(f64::total_cmp);
    let mut drawn: Vec<(usize, usize)> = Vec::new();
    let (mut id, mut reached) = (0, probabilities[0]);
    for point in points {
        while point >= reached && id + 1 < probabilities.len() {
            id += 1;
            reached += probabilities[id];
        }
        match drawn.last_mut() {
            Some((last, count)) if *last == id => *count += 1,
            _ => drawn.push((id, 1)),
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_a_known_distribution() {
        let mut p = vec![7.0];
        probabilities_of(&[0.0, 2f32.ln(), f32::NEG_INFINITY, 0.0], 1.0, &mut p);
        for (p, expected) in p.iter().zip([0.25, 0.5, 0.0, 0.25]) {
            assert!((p - expected).abs() < 1e-7, "{p}");
        }
        let p = [0.25, 0.5, 0.0, 0.25];
        assert_eq!(likeliest_ids(&p, 0), [(1, 0.5)]);
        let mut two = likeliest_ids(&p, 2);
        two.sort_by_key(|&(id, _)| id);
        assert_eq!(two, [(1, 0.5), (3, 0.25)]);
        assert_eq!(likeliest_ids(&p, 9).len(), 4);
        let drawn = drawn_ids(&p, vec![0.8, 0.0, 0.7, 0.3, 0.25, 0.999]);
        assert_eq!(drawn, [(0, 1), (1, 3), (3, 2)]);
    }
}
