use crate::counting::Counting;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use distily_core::ValueAndGradient;
use distily_kernels::{in_format_of, pairwise_l1, pairwise_l1_gradient, widened};

/// Sinkhorn distance between the tokens of a batch (SinKD, 2402.17110): Σ weights · T² · ⟨P, C⟩,
/// where C_ij = ‖p_i - q_j‖₁, p and q are the softmax of the teacher's and the student's logits over
/// the temperature T, and the plan P is e^(-C / `epsilon`) after `iterations` scalings of its rows,
/// then its columns, to the marginals weight / Σ weights. So a student's token is compared with
/// those of the teacher's that are alike, wherever they stand.
///
/// Shapes: both logits `[tokens, vocabulary]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. A token of weight 0 contributes nothing,
/// whatever its logits are. The gradient goes through the iterations, which are taken in
/// logarithms, and is taken in closed form with the value; the teacher gets none.
///
/// **Not 0 for equals**: at an `epsilon` above 0 the plan moves some mass between tokens that
/// differ, and nothing is taken off for that, as a Sinkhorn divergence does.
///
/// **Not a mean over tokens**: the value is that of the batch times Σ weights, so an accumulated step
/// is the mean of its batches' losses, weighted by their tokens.
///
/// With n tokens that count and a vocabulary of v, it takes 2 n² v steps, and holds some three times
/// n · v numbers beside the logits of both sides, and a few times n²: never `[n, n, v]`.
///
/// # Panics
///
/// If the shapes differ, `epsilon` is not above 0 or there are no iterations.
pub fn sinkhorn(
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
    epsilon: f64,
    iterations: usize,
) -> Tensor<1> {
    value_and_gradient(&student, teacher, weights, temperature, epsilon, iterations)
        .attached_to(student)
}

pub(crate) fn value_and_gradient(
    student: &Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
    epsilon: f64,
    iterations: usize,
) -> ValueAndGradient {
    assert_eq!(student.dims(), teacher.dims(), "the logits' shapes differ");
    assert_eq!(weights.dims()[0], student.dims()[0], "one weight a token");
    assert!(
        epsilon > 0.0 && epsilon.is_finite(),
        "epsilon must be above 0"
    );
    assert!(iterations > 0, "at least one iteration");
    let weights = weights.without_autodiff();
    let mask: Vec<bool> = weights.to_data().iter::<f32>().map(|w| w != 0.0).collect();
    let counting = Counting::of(&mask);
    let q = {
        let logits = counting.rows(student.clone().without_autodiff());
        softmax(widened(logits).div_scalar(temperature), 1)
    };
    if counting.is_empty() {
        return ValueAndGradient {
            value: in_format_of(Tensor::zeros([1], &q.device()), &q),
            gradient: widened(student.clone().without_autodiff()).zeros_like(),
        };
    }
    let p = {
        let logits = in_format_of(counting.rows(teacher.without_autodiff()), &q);
        softmax(logits.div_scalar(temperature), 1)
    };
    let weights = counting.rows(in_format_of(weights, &q).unsqueeze_dim(1));
    let total = weights.clone().sum();
    let marginals = weights / total.clone().unsqueeze();
    let transport = Transport::of(
        pairwise_l1(q.clone(), p.clone()),
        marginals,
        epsilon,
        iterations,
    );
    let factor = total.mul_scalar(temperature * temperature);
    let of_cost = transport.gradient * factor.clone().unsqueeze();
    let of_q = pairwise_l1_gradient(q.clone(), p, of_cost);
    let slopes = q.clone() * of_q;
    let gradient = (slopes.clone() - q * slopes.sum_dim(1)).div_scalar(temperature);
    ValueAndGradient {
        value: transport.value * factor,
        gradient: counting.spread(gradient),
    }
}

/// What moving mass costs by a plan of Sinkhorn's iterations.
struct Transport {
    /// ⟨P, C⟩, `[1]`.
    value: Tensor<1>,
    /// Its derivative with respect to the cost, the plan's own included, `[n, n]`.
    gradient: Tensor<2>,
}

impl Transport {
    /// With the cost C `[n, n]` of each student's token to each teacher's, and the marginals `[n, 1]`
    /// of both.
    fn of(cost: Tensor<2>, marginals: Tensor<2>, epsilon: f64, iterations: usize) -> Self {
        let scores = cost.clone().div_scalar(-epsilon);
        let of_student = marginals.log();
        let of_teacher = of_student.clone().transpose();
        // log P = scores + u + v, where each half step makes the marginals of one side true.
        let mut u = of_student.zeros_like();
        let mut steps = Vec::with_capacity(iterations);
        for _ in 0..iterations {
            let before = u;
            let v = of_teacher.clone() - log_sum_exp(scores.clone() + before.clone(), 0);
            u = of_student.clone() - log_sum_exp(scores.clone() + v.clone(), 1);
            steps.push(Step {
                before,
                v,
                after: u.clone(),
            });
        }
        let last = steps.last().expect("at least one iteration");
        let plan = (scores.clone() + last.after.clone() + last.v.clone()).exp();
        // The derivative of the value with respect to log P, and so to what it is the sum of.
        let moved = plan.clone() * cost;
        let value = moved.clone().sum();
        let mut of_u = moved.clone().sum_dim(1);
        let mut of_v = moved.clone().sum_dim(0);
        let mut of_scores = moved;
        for step in steps.into_iter().rev() {
            // A logarithm of a sum of exponentials passes its derivative on by their shares.
            let Step { before, v, after } = step;
            let rows = scores.clone() + v.clone() + (after - of_student.clone());
            let rows = rows.exp() * of_u;
            of_v = of_v - rows.clone().sum_dim(0);
            let columns = scores.clone() + before + (v.clone() - of_teacher.clone());
            let columns = columns.exp() * of_v;
            of_u = columns.clone().sum_dim(1).neg();
            of_v = v.zeros_like();
            of_scores = of_scores - rows - columns;
        }
        Self {
            value,
            gradient: plan - of_scores.div_scalar(epsilon),
        }
    }
}

/// The logarithms of the scalings before, within and after an iteration.
struct Step {
    /// Of the student's tokens, `[n, 1]`.
    before: Tensor<2>,
    /// Of the teacher's, `[1, n]`.
    v: Tensor<2>,
    /// Of the student's, `[n, 1]`.
    after: Tensor<2>,
}

fn log_sum_exp(x: Tensor<2>, dim: usize) -> Tensor<2> {
    let highest = x.clone().max_dim(dim);
    (x - highest.clone()).exp().sum_dim(dim).log() + highest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{laws, random};
    use crate::testing::Scene;
    use crate::{SoftLoss, SoftTerm};
    use burn::tensor::Device;
    use distily_core::Term;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_the_laws(
            seed in any::<u64>(), tokens in 1usize..6, vocabulary in 2usize..9,
            temperature in 0.5f64..3.0, epsilon in 0.05f64..1.0, iterations in 1usize..6,
        ) {
            let sinkhorn = |s, t, w| sinkhorn(s, t, w, temperature, epsilon, iterations);
            laws(&sinkhorn, [tokens, vocabulary], seed, &[]);
        }

        /// The plan's marginals are what they should be, so nothing is cheaper than the dearest pair
        /// nor dearer than it.
        #[test]
        fn it_is_a_mean_of_distances(seed in any::<u64>(), scale in 0.1f32..30.0) {
            let logits = |seed| random::<2>([7, 12], seed) * scale;
            let weights = crate::mean_over(&[true; 7], &Device::default());
            let distances = pairwise_l1(softmax(logits(seed), 1), softmax(logits(seed ^ 1), 1));
            let value = sinkhorn(logits(seed), logits(seed ^ 1), weights, 1.0, 0.1, 20).into_scalar::<f32>();
            let (least, most) = (distances.clone().min().into_scalar::<f32>(), distances.max().into_scalar::<f32>());
            prop_assert!(least - 1e-5 <= value && value <= most + 1e-5, "{least} {value} {most}");
        }
    }

    /// Tokens as far apart as can be, in another order: a sharp plan finds their partners.
    #[test]
    fn it_is_the_value_of_the_formula() {
        let device = Device::default();
        let sure = Tensor::<2>::from_data([[50.0f32, 0.0], [0.0, 50.0]], &device);
        let weights = crate::mean_over(&[true; 2], &device);
        let of = |epsilon| {
            let turned = sure.clone().flip([0]);
            sinkhorn(sure.clone(), turned, weights.clone(), 1.0, epsilon, 10).into_scalar::<f32>()
        };
        // K = (1, k; k, 1) with k = e^(-2 / epsilon) is in balance over 2 (1 + k), so the cost is
        // 2 k / (1 + k).
        for epsilon in [0.1f32, 0.5, 2.0] {
            let k = (-2.0 / epsilon).exp();
            let value = of(f64::from(epsilon));
            assert!(
                (value - 2.0 * k / (1.0 + k)).abs() < 1e-6,
                "{epsilon}: {value}"
            );
        }
    }

    #[test]
    fn extreme_logits_stay_finite_at_every_sharpness() {
        let device = Device::default().autodiff();
        let infinite = f32::NEG_INFINITY;
        let student = [[1e4, -1e4, 0.0, infinite], [0.0, 1.0, infinite, 2.0]];
        let student = Tensor::<2>::from_data(student, &device).require_grad();
        let teacher = [[-1e4, infinite, 1e4, 3.0], [1e4, 1e4, -1e4, infinite]];
        let teacher = Tensor::<2>::from_data(teacher, &device);
        let weights = crate::mean_over(&[true; 2], &device);
        for epsilon in [1e-4, 0.1, 1e4] {
            let loss = sinkhorn(
                student.clone(),
                teacher.clone(),
                weights.clone(),
                1.0,
                epsilon,
                20,
            );
            let value = loss.clone().into_scalar::<f32>();
            assert!((0.0..=2.0).contains(&value), "{epsilon}: {value}");
            let gradient = student.grad(&loss.backward()).unwrap().into_data();
            assert!(
                gradient.iter::<f32>().all(|g| g.is_finite()),
                "{epsilon}: {gradient}"
            );
        }
    }

    #[test]
    fn as_a_term_it_sees_the_whole_batch() {
        let scene = Scene::new([11, 11], 3);
        let term = SoftTerm {
            name: "sinkhorn".to_owned(),
            weight: 1.0.into(),
            temperature: 2.0,
            temperature_squared: false,
            loss: SoftLoss::Sinkhorn {
                epsilon: 0.1,
                iterations: 5,
            },
        };
        assert!(term.output_loss().is_none());
        let value = term
            .value(&scene.comparison(0))
            .unwrap()
            .into_scalar::<f32>();
        let (student, teacher, weights) = scene.logits();
        let expected = sinkhorn(student, teacher, weights, 2.0, 0.1, 5).into_scalar::<f32>() / 4.0;
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    }
}
