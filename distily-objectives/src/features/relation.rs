use super::cosine::Directions;
use super::maps::{QueryRows, sides};
use super::rows::filled;
use crate::{Divergence, divergence};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, Tensor, TensorData};
use distily_kernels::{Segments, attention_weights};
use thiserror::Error;

/// Relation heads that do not divide a width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "`relation_heads`: got {relation_heads}, expected a divisor of the {side}'s width of {width} (its heads times their width)"
)]
pub struct RelationHeadsError {
    /// The relation heads.
    pub relation_heads: usize,
    /// Whose width it is: "student" or "teacher".
    pub side: &'static str,
    /// The width.
    pub width: usize,
}

/// Whether a feature of the widths (heads · head width) of student and teacher can be split into
/// `relation_heads`: they must divide each on its own. Grouped-query keys and values are narrower
/// than queries.
///
/// # Errors
///
/// [`RelationHeadsError`].
pub fn check_relation_heads(
    relation_heads: usize,
    student_width: usize,
    teacher_width: usize,
) -> Result<(), RelationHeadsError> {
    for (side, width) in [("student", student_width), ("teacher", teacher_width)] {
        if relation_heads == 0 || !width.is_multiple_of(relation_heads) {
            return Err(RelationHeadsError {
                relation_heads,
                side,
                width,
            });
        }
    }
    Ok(())
}

/// Relation distillation of queries, keys or values by squared error: Σ weight · the mean over the
/// relation heads of |R_S - R_T|², where a row of R = softmax(A Aᵀ / √d_r) says how a token relates
/// to the tokens it sees (the MHA transfer of 2310.08797, after MiniLMv2, 2012.15828).
///
/// A is a relation head: all heads of a side concatenated and split again into `relation_heads`, so
/// that models of different heads and widths have the same number of relations; d_r is each side's
/// own. A token sees the past of its own document and itself, as in attention, also where A are
/// values. The squares are summed over the tokens that are seen, not averaged: what a row is worth
/// depends neither on its length nor on padding.
///
/// Shapes: `student` and `teacher` `[batch, heads, seq, head_width]`, heads and widths their own;
/// `segments` `[batch, seq]`; `weights` `[batch * seq]` of the query rows (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. Padding and what no token of weight above
/// 0 sees contribute nothing, whatever their features are; a token of weight 0 in the past of one
/// that counts is part of its relations. The teacher gets no gradient. A mean over tokens: the
/// parts of an accumulated step add up to the whole. It works in `[batch, relation_heads, seq,
/// seq]`.
///
/// # Panics
///
/// If the shapes do not fit, or [`check_relation_heads`] refuses the widths.
pub fn relation_mse(
    student: Tensor<4>,
    teacher: Tensor<4>,
    segments: &Segments,
    weights: Tensor<1>,
    relation_heads: usize,
) -> Tensor<1> {
    let relations = Relations::new(student, teacher, segments, weights, relation_heads);
    // A softmax; by its log its gradient is exact also where it is almost 0 or 1.
    let relation = |scores| log_softmax(scores, 3).exp();
    let [student, teacher] = relations.scores(by_width).map(relation);
    let difference = student - teacher;
    relations.rows.sum(difference.square().sum_dim(3))
}

/// Relation distillation of queries, keys or values by forward KL: Σ weight · the mean over the
/// relation heads of KL(R_T ‖ R_S) (MiniLMv2, 2012.15828).
///
/// The relations R, shapes and panics are those of [`relation_mse`]; the KL and its closed-form
/// gradient are [`divergence`]'s.
///
/// # Panics
///
/// If the shapes do not fit, or [`check_relation_heads`] refuses the widths.
pub fn relation_kl(
    student: Tensor<4>,
    teacher: Tensor<4>,
    segments: &Segments,
    weights: Tensor<1>,
    relation_heads: usize,
) -> Tensor<1> {
    let relations = Relations::new(student, teacher, segments, weights, relation_heads);
    relations.kl(by_width)
}

/// [`relation_kl`] as in BitDistill (2510.13998): each token's vector in a relation head at length
/// 1, and the temperature `tau` for √d_r, R = softmax(A Aᵀ / τ).
///
/// A vector without a component of 1e-8 or more is 0, without gradient.
///
/// # Panics
///
/// If the shapes do not fit, [`check_relation_heads`] refuses the widths or `tau` is not above 0.
pub fn relation_normalized_kl(
    student: Tensor<4>,
    teacher: Tensor<4>,
    segments: &Segments,
    weights: Tensor<1>,
    relation_heads: usize,
    tau: f64,
) -> Tensor<1> {
    assert!(tau > 0.0 && tau.is_finite(), "tau must be above 0");
    let relations = Relations::new(student, teacher, segments, weights, relation_heads);
    relations.kl(|a| products(Directions::of(a).vectors).div_scalar(tau))
}

/// The relation heads of both sides, and what sees what.
struct Relations {
    /// `[batch, relation_heads, seq, d_r]`, of student and teacher.
    heads: [Tensor<4>; 2],
    rows: QueryRows,
    /// Where a token must not look, `[batch, 1, seq, seq]`.
    hidden: Tensor<4, Bool>,
}

impl Relations {
    fn new(
        student: Tensor<4>,
        teacher: Tensor<4>,
        segments: &Segments,
        weights: Tensor<1>,
        relation_heads: usize,
    ) -> Self {
        let [batch, of_student, seq, width] = student.dims();
        let [of_batch, of_teacher, of_seq, of_width] = teacher.dims();
        assert_eq!([of_batch, of_seq], [batch, seq], "the tokens differ");
        assert_eq!(segments.shape(), [batch, seq], "one segment a token");
        assert_eq!(weights.dims(), [batch * seq], "one weight a token");
        check_relation_heads(relation_heads, of_student * width, of_teacher * of_width)
            .unwrap_or_else(|error| panic!("{error}"));

        let (student, teacher) = sides(student, teacher);
        let device = teacher.device();
        let padding: Vec<bool> = segments.ids().iter().map(|&id| id == 0).collect();
        let padding = Tensor::from_data(TensorData::new(padding, [batch * seq]), &device);
        let rows = QueryRows::new(
            weights.without_autodiff().mask_fill(padding, 0.0),
            batch,
            &teacher,
        );
        // Tokens that are all alike attend evenly to those they see.
        let alike = Tensor::zeros([batch, seq, 1, 1], &device);
        let hidden = attention_weights(alike.clone(), alike, segments, 1.0).equal_scalar(0.0);
        let unseen = hidden.clone().bool_or(rows.masked.clone()).all_dim(2);
        let unseen = unseen.swap_dims(2, 3);
        let split = |x: Tensor<4>| {
            let x = filled(x, unseen.clone(), 0.0).swap_dims(1, 2);
            let [_, _, heads, width] = x.dims();
            let of_relation = heads * width / relation_heads;
            x.reshape([batch, seq, relation_heads, of_relation])
                .swap_dims(1, 2)
        };
        Self {
            heads: [split(student), split(teacher)],
            rows,
            hidden,
        }
    }

    /// What the softmax is taken of, `[batch, relation_heads, seq, seq]`, of student and teacher.
    fn scores(&self, score: impl Fn(Tensor<4>) -> Tensor<4>) -> [Tensor<4>; 2] {
        // A number and not -inf, so that differences are numbers too.
        self.heads
            .clone()
            .map(|heads| filled(score(heads), self.hidden.clone(), -1e30))
    }

    fn kl(&self, score: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<1> {
        let weights = self.rows.by_head(self.heads[0].dims()[1]);
        let [student, teacher] = self.scores(score).map(|scores| scores.flatten::<2>(0, 2));
        divergence(Divergence::ForwardKl, student, teacher, weights, 1.0)
    }
}

/// A Aᵀ.
fn products(a: Tensor<4>) -> Tensor<4> {
    a.clone().matmul(a.swap_dims(2, 3))
}

/// A Aᵀ / √d_r.
fn by_width(a: Tensor<4>) -> Tensor<4> {
    let width = a.dims()[3] as f64;
    products(a).div_scalar(width.sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradient, largest, random, value_and_gradient};
    use super::*;
    use burn::tensor::{Device, FloatDType, Int};
    use proptest::prelude::*;

    type Relation = fn(Tensor<4>, Tensor<4>, &Segments, Tensor<1>, usize) -> Tensor<1>;

    const ALL: [Relation; 3] = [
        relation_mse,
        relation_kl,
        |s, t, segments, weights, heads| {
            relation_normalized_kl(s, t, segments, weights, heads, 0.4)
        },
    ];

    /// Two rows: two documents and padding, of which some tokens count; and one document.
    fn packed() -> (Segments, Vec<bool>) {
        let ids = [[1, 1, 1, 2, 2, 0], [1, 1, 1, 1, 1, 1]].concat();
        let counts = [1, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1, 0].map(|counts| counts == 1);
        (Segments::new(ids, [2, 6]), counts.to_vec())
    }

    fn weights_of(counts: &[bool]) -> Tensor<1> {
        crate::mean_over(counts, &Device::default())
    }

    proptest! {
        // Each case takes hundreds of finite differences.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn they_keep_the_laws(seed in any::<u64>()) {
            let (segments, counts) = packed();
            let weights = weights_of(&counts);
            let student = random([2, 4, 6, 3], seed) * 2.0;
            let teacher = random([2, 2, 6, 8], seed ^ 1) * 2.0;
            for relation in ALL {
                let value = |s: &Tensor<4>, t: &Tensor<4>, segments: &Segments, weights: &Tensor<1>| {
                    relation(s.clone(), t.clone(), segments, weights.clone(), 2).into_scalar::<f64>()
                };
                let whole = value(&student, &teacher, &segments, &weights);
                prop_assert!(whole >= 0.0);
                let of_student = |x| relation(x, teacher.clone(), &segments, weights.clone(), 2);
                assert_gradient(&of_student, student.clone());

                // Equals, and the same features in other heads.
                let same = |x| relation(x, student.clone(), &segments, weights.clone(), 2);
                let (zero, gradient) = value_and_gradient(&same, student.clone());
                prop_assert!(zero.abs() < 1e-7 && largest(gradient) < 1e-6);
                let heads = student.clone().swap_dims(1, 2).reshape([2, 6, 6, 2]).swap_dims(1, 2);
                prop_assert_eq!(value(&heads, &teacher, &segments, &weights), whole);

                // The parts of an accumulated step, and the order of the rows.
                let row = |x: &Tensor<4>, row| x.clone().narrow(0, row, 1);
                let parts: f64 = (0..2)
                    .map(|at| {
                        let ids = &segments.ids()[at * 6..at * 6 + 6];
                        let weights = weights.clone().narrow(0, at * 6, 6);
                        let segments = Segments::new(ids, [1, 6]);
                        value(&row(&student, at), &row(&teacher, at), &segments, &weights)
                    })
                    .sum();
                prop_assert!((parts - whole).abs() < 1e-5 * (1.0 + whole));
                let backwards = Tensor::<1, Int>::from_data([1, 0], &student.device());
                let turn = |x: &Tensor<4>| x.clone().select(0, backwards.clone());
                let ids = [&segments.ids()[6..], &segments.ids()[..6]].concat();
                let turned_weights = weights_of(&[&counts[6..], &counts[..6]].concat());
                let turned = value(
                    &turn(&student), &turn(&teacher), &Segments::new(ids, [2, 6]), &turned_weights,
                );
                prop_assert!((turned - whole).abs() < 1e-5 * (1.0 + whole));

                // Half precision.
                let half = |x: &Tensor<4>| (x.clone() * 100.0).cast(FloatDType::BF16);
                let of_half = |x| relation(x, half(&teacher), &segments, weights.clone(), 2);
                let (finite, gradient) = value_and_gradient(&of_half, half(&student));
                prop_assert!(finite.is_finite() && largest(gradient).is_finite());
            }
        }

        #[test]
        fn what_no_counting_token_sees_changes_nothing(seed in any::<u64>()) {
            let (segments, counts) = packed();
            // The padding; the rest of the first document, whose first token alone counts; the last
            // token, after all that count.
            let unseen = [1, 2, 5, 11];
            let weights = weights_of(&counts);
            let (student, teacher) = (random([2, 2, 6, 4], seed), random([2, 2, 6, 4], seed ^ 1));
            let mask: Vec<bool> = (0..12).map(|token| unseen.contains(&token)).collect();
            let mask = TensorData::new(mask, [2, 1, 6, 1]);
            let mask = Tensor::<4, Bool>::from_data(mask, &student.device());
            for relation in ALL {
                let value = |s: Tensor<4>, t: Tensor<4>| {
                    value_and_gradient(
                        &|s| relation(s, t.clone(), &segments, weights.clone(), 2), s,
                    )
                };
                let (expected, gradient) = value(student.clone(), teacher.clone());
                for there in [f32::NAN, f32::INFINITY, 1e30] {
                    let fill = |x: &Tensor<4>| filled(x.clone(), mask.clone(), there.into());
                    let (got, of_filled) = value(fill(&student), fill(&teacher));
                    prop_assert_eq!(got, expected);
                    prop_assert_eq!(largest(of_filled - gradient.clone()), 0.0);
                }
            }
        }

        #[test]
        fn a_packed_row_is_its_documents(seed in any::<u64>()) {
            let (student, teacher) = (random([1, 2, 6, 4], seed), random([1, 1, 6, 6], seed ^ 1));
            let segments = Segments::new([3, 3, 5, 5, 5, 5], [1, 6]);
            let weights = weights_of(&[true; 6]);
            for relation in ALL {
                let packed = relation(student.clone(), teacher.clone(), &segments, weights.clone(), 2);
                let apart: f32 = [(0, 2), (2, 4)]
                    .into_iter()
                    .map(|(start, tokens)| {
                        let part = |x: &Tensor<4>| x.clone().narrow(2, start, tokens);
                        let segments = Segments::new(vec![1; tokens], [1, tokens]);
                        let weights = weights.clone().narrow(0, start, tokens);
                        relation(part(&student), part(&teacher), &segments, weights, 2)
                            .into_scalar::<f32>()
                    })
                    .sum();
                prop_assert!((packed.into_scalar::<f32>() - apart).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn padding_never_counts_and_nothing_may_count() {
        let segments = Segments::new([1, 0], [1, 2]);
        let (student, teacher) = (random([1, 1, 2, 4], 1), random([1, 1, 2, 4], 2));
        for relation in ALL {
            for weights in [[0f32, 0.0], [0.0, 1.0]] {
                let weights = Tensor::<1>::from_data(weights, &Device::default());
                let (value, gradient) = value_and_gradient(
                    &|s| relation(s, teacher.clone(), &segments, weights.clone(), 2),
                    student.clone(),
                );
                assert_eq!((value, largest(gradient)), (0.0, 0.0));
            }
        }
    }

    #[test]
    fn the_teacher_gets_no_gradient() {
        let (segments, counts) = packed();
        for relation in ALL {
            let student = Tensor::from_inner(random([2, 2, 6, 4], 1)).require_grad();
            let teacher = Tensor::from_inner(random([2, 2, 6, 4], 2)).require_grad();
            let loss = relation(student, teacher.clone(), &segments, weights_of(&counts), 2);
            assert!(teacher.grad(&loss.backward()).is_none());
        }
    }

    #[test]
    fn relation_heads_divide_each_width_on_its_own() {
        assert_eq!(check_relation_heads(6, 12, 18), Ok(()));
        let error = check_relation_heads(8, 64, 36).unwrap_err().to_string();
        assert!(
            error.contains("got 8") && error.contains("teacher's width of 36"),
            "{error}"
        );
        assert!(check_relation_heads(0, 64, 64).is_err());
    }
}
