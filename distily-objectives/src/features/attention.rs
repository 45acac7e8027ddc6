use super::maps::{QueryRows, sides};
use super::rows::filled;
use burn::tensor::Tensor;

/// Squared error between attention maps: Σ weight · the mean over the heads of Σ (A_S - A_T)², the
/// inner sum being over the tokens that are looked at.
///
/// Where the heads are not as many, the mean over the heads of each side is compared. The squares
/// are summed and not averaged over the row: what a row is worth depends neither on its length nor
/// on padding.
///
/// Shapes: `student` and `teacher` `[batch, heads, seq, seq]`, heads their own, after the softmax;
/// `weights` `[batch * seq]` of the query rows (see [`mean_over`](crate::mean_over)); the result is
/// `[1]`. A row of weight 0 contributes nothing, whatever it holds; the teacher gets no gradient. A
/// mean over tokens: the parts of an accumulated step add up to the whole.
///
/// # Panics
///
/// If the shapes do not fit.
pub fn attention_mse(student: Tensor<4>, teacher: Tensor<4>, weights: Tensor<1>) -> Tensor<1> {
    let maps = Maps::new(student, teacher, weights);
    let difference = maps.student - maps.teacher;
    maps.rows.sum(difference.square().sum_dim(3))
}

/// Forward KL between attention maps: Σ weight · the mean over the heads of KL(A_T ‖ A_S), in the
/// form Σ A_T ln(A_T / A_S) - A_T + A_S. For rows that sum to 1 that is the KL; it also is never
/// negative where they don't quite, in half precision, and its gradient for equals is 0. What
/// neither side looks at, the future say, takes no part.
///
/// The student's attention enters its log as at least the smallest normal f32: below that it has
/// no gradient, and a softmax that has underflowed would let none through. Where that matters,
/// compare relations ([`relation_kl`](crate::relation_kl)), which knows the scores.
///
/// Heads, shapes and masks are those of [`attention_mse`].
///
/// # Panics
///
/// If the shapes do not fit.
pub fn attention_kl(student: Tensor<4>, teacher: Tensor<4>, weights: Tensor<1>) -> Tensor<1> {
    let maps = Maps::new(student, teacher, weights);
    let (q, p) = (maps.student, maps.teacher);
    let unseen = q.clone().without_autodiff().equal_scalar(0.0);
    let unseen = unseen.bool_and(p.clone().equal_scalar(0.0));
    let log = |x: Tensor<4>| x.clamp_min(f32::MIN_POSITIVE).log();
    let terms = p.clone() * (log(p.clone()) - log(q.clone())) - p + q;
    maps.rows.sum(filled(terms, unseen, 0.0).sum_dim(3))
}

/// Maps of as many heads, and 0 in the rows that do not count.
struct Maps {
    student: Tensor<4>,
    teacher: Tensor<4>,
    rows: QueryRows,
}

impl Maps {
    fn new(student: Tensor<4>, teacher: Tensor<4>, weights: Tensor<1>) -> Self {
        let [batch, heads, queries, seq] = student.dims();
        let [of_batch, of_teacher, of_queries, of_seq] = teacher.dims();
        assert_eq!(
            [of_batch, of_queries, of_seq],
            [batch, queries, seq],
            "the tokens differ"
        );
        assert_eq!(weights.dims(), [batch * queries], "one weight a query");
        let (student, teacher) = sides(student, teacher);
        let rows = QueryRows::new(weights, batch, &teacher);
        let ready = |x: Tensor<4>| {
            let x = filled(x, rows.masked.clone(), 0.0);
            if heads == of_teacher {
                x
            } else {
                x.mean_dim(1)
            }
        };
        Self {
            student: ready(student),
            teacher: ready(teacher),
            rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        assert_gradient, largest, random, some_tokens, value_and_gradient,
    };
    use super::*;
    use burn::tensor::activation::softmax;
    use burn::tensor::{Bool, Device, FloatDType, Int};
    use proptest::prelude::*;

    type Attention = fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<1>;

    const BOTH: [Attention; 2] = [attention_mse, attention_kl];

    fn causal(scores: Tensor<4>) -> Tensor<4> {
        let [_, _, seq, _] = scores.dims();
        let future = Tensor::<2, Bool>::tril_mask([seq, seq], 0, &scores.device());
        softmax(filled(scores, future.unsqueeze(), f64::NEG_INFINITY), 3)
    }

    proptest! {
        #[test]
        fn they_keep_the_laws(seed in any::<u64>(), of_teacher in 2usize..4) {
            let scores = random([2, 2, 3, 3], seed) * 3.0;
            let student = causal(scores.clone());
            let teacher = causal(random([2, of_teacher, 3, 3], seed ^ 1) * 3.0);
            let counts = some_tokens(6, seed);
            let weights = crate::mean_over(&counts, &Device::default());
            for attention in BOTH {
                let value = |s: &Tensor<4>, t: &Tensor<4>, weights: &Tensor<1>| {
                    attention(s.clone(), t.clone(), weights.clone()).into_scalar::<f64>()
                };
                let whole = value(&student, &teacher, &weights);
                prop_assert!(whole >= -1e-7);
                assert_gradient(&|x| attention(causal(x), teacher.clone(), weights.clone()), scores.clone());
                let same = |x| attention(x, student.clone(), weights.clone());
                let (zero, gradient) = value_and_gradient(&same, student.clone());
                prop_assert!(zero.abs() < 1e-7 && largest(gradient) < 1e-6);

                // Rows that do not count.
                let masked = weights.clone().equal_scalar(0.0).reshape([2, 1, 3, 1]);
                let of_student = |x| attention(x, teacher.clone(), weights.clone());
                let (_, gradient) = value_and_gradient(&of_student, student.clone());
                for there in [f64::NAN, f64::INFINITY, 1e30] {
                    let fill = |x: &Tensor<4>| filled(x.clone(), masked.clone(), there);
                    let of_student = |x| attention(x, fill(&teacher), weights.clone());
                    let (got, of_filled) = value_and_gradient(&of_student, fill(&student));
                    prop_assert_eq!(got, whole);
                    prop_assert_eq!(largest(of_filled - gradient.clone()), 0.0);
                }

                // The parts of an accumulated step, the order of the rows and of the queries.
                let part = |x: &Tensor<4>, at| x.clone().narrow(0, at, 1);
                let parts: f64 = (0..2)
                    .map(|at| {
                        let weights = weights.clone().narrow(0, at * 3, 3);
                        value(&part(&student, at), &part(&teacher, at), &weights)
                    })
                    .sum();
                prop_assert!((parts - whole).abs() < 1e-5 * (1.0 + whole));
                let turn = |x: &Tensor<4>| x.clone().flip([0, 2]);
                let backwards = Tensor::<1, Int>::from_data([5, 4, 3, 2, 1, 0], &Device::default());
                let turned = value(&turn(&student), &turn(&teacher), &weights.clone().select(0, backwards));
                prop_assert!((turned - whole).abs() < 1e-5 * (1.0 + whole));

                let half = |x: &Tensor<4>| x.clone().cast(FloatDType::BF16);
                let of_half = |x| attention(x, half(&teacher), weights.clone());
                let (finite, gradient) = value_and_gradient(&of_half, half(&student));
                prop_assert!(finite >= 0.0 && finite.is_finite());
                prop_assert!(largest(gradient).is_finite());
            }
        }
    }

    #[test]
    fn attention_that_underflowed_is_finite() {
        let device = Device::default();
        let weights = crate::mean_over(&[true], &device);
        let student = Tensor::<4>::from_data([[[[1f32, 0.0]]]], &device);
        let teacher = Tensor::<4>::from_data([[[[0f32, 1.0]]]], &device);
        for attention in BOTH {
            let (value, gradient) = value_and_gradient(
                &|s| attention(s, teacher.clone(), weights.clone()),
                student.clone(),
            );
            assert!(value > 1.0 && value.is_finite() && largest(gradient).is_finite());
        }
    }

    #[test]
    fn the_teacher_gets_no_gradient() {
        let weights = crate::mean_over(&[true; 3], &Device::default());
        for attention in BOTH {
            let side = |seed| Tensor::from_inner(random([1, 2, 3, 3], seed).exp()).require_grad();
            let (student, teacher) = (side(1), side(2));
            let loss = attention(student, teacher.clone(), weights.clone());
            assert!(teacher.grad(&loss.backward()).is_none());
        }
    }
}
