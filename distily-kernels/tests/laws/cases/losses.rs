use super::{Case, numbers};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use distily_kernels::{Divergence, ValueAndGradient, cross_entropy, divergence, sparse_kl, uld};

const DIVERGENCES: [Divergence; 10] = [
    Divergence::ForwardKl,
    Divergence::ReverseKl,
    Divergence::SoftCrossEntropy,
    Divergence::MixedKl { reverse_share: 0.3 },
    Divergence::JensenShannon { beta: 0.2 },
    Divergence::SkewKl { alpha: 0.1 },
    Divergence::SkewReverseKl { alpha: 0.1 },
    Divergence::AlphaBeta {
        alpha: 0.2,
        beta: 0.7,
    },
    Divergence::ProbabilitiesMse,
    Divergence::LogitsMse,
];
const TEMPERATURE: f64 = 1.5;

/// What a loss is given.
#[derive(Clone)]
pub(crate) struct Logits {
    /// `[tokens, vocabulary]`.
    pub(crate) student: Tensor<2>,
    /// The same.
    pub(crate) teacher: Tensor<2>,
    /// `[tokens]`.
    pub(crate) weights: Tensor<1>,
    /// The largest that is not infinite.
    pub(crate) magnitude: f32,
}

impl Logits {
    /// In [-`magnitude`, `magnitude`); about a third of the weights is 0.
    pub(crate) fn drawn(shape: [usize; 2], seed: u64, magnitude: f32) -> Self {
        Self {
            student: numbers(shape, seed, magnitude),
            teacher: numbers(shape, seed ^ 1, magnitude),
            weights: numbers([shape[0]], seed ^ 2, 1.0)
                .add_scalar(0.3)
                .clamp_min(0.0),
            magnitude,
        }
    }
}

/// The losses on the output distribution whose gradients jump where two numbers, or two sums, are
/// equal: rounding alone may set them apart there.
pub(crate) fn losses_with_jumps(logits: &Logits) -> Vec<Case> {
    let divergences = [
        Divergence::TotalVariation,
        Divergence::AdaptiveKl { head_mass: 0.5 },
    ];
    let by_rank = case("uld", logits, |logits| {
        uld(logits.student, logits.teacher, logits.weights, TEMPERATURE)
    });
    divergences
        .map(|which| of_divergence(which, logits))
        .into_iter()
        .chain([by_rank])
        .collect()
}

fn of_divergence(which: Divergence, logits: &Logits) -> Case {
    case(&format!("{which:?}"), logits, move |logits| {
        let Logits {
            student,
            teacher,
            weights,
            ..
        } = logits;
        divergence(which, student, teacher, weights, TEMPERATURE)
    })
}

/// Every other loss on the output distribution.
pub(crate) fn losses(logits: &Logits) -> Vec<Case> {
    let [tokens, vocabulary] = logits.student.dims();
    let divergences = DIVERGENCES.map(|which| of_divergence(which, logits));
    let device = Device::flex();
    let ids: Vec<i32> = (0..tokens)
        .map(|at| (at * 397 % vocabulary) as i32)
        .collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(ids, [tokens]), &device);
    let labels = case("cross_entropy", logits, move |logits| {
        cross_entropy(logits.student, labels.clone(), logits.weights)
    });
    let (p, ids) = softmax(logits.teacher.clone(), 1).sort_descending_with_indices(1);
    let k = vocabulary.div_ceil(3);
    let (p, ids) = (p.narrow(1, 0, k), ids.narrow(1, 0, k));
    let tail = p
        .clone()
        .sum_dim(1)
        .squeeze_dim(1)
        .neg()
        .add_scalar(1.0)
        .clamp_min(0.0);
    let sparse = case("sparse_kl", logits, move |logits| {
        let Logits {
            student, weights, ..
        } = logits;
        sparse_kl(
            student,
            ids.clone(),
            p.clone(),
            tail.clone(),
            weights,
            TEMPERATURE,
        )
    });
    divergences.into_iter().chain([labels, sparse]).collect()
}

fn case(
    name: &str,
    logits: &Logits,
    loss: impl Fn(Logits) -> ValueAndGradient + Send + Sync + 'static,
) -> Case {
    let shape = logits.student.dims();
    let magnitude = f64::from(logits.magnitude);
    let total = f64::from(logits.weights.clone().sum().into_scalar::<f32>());
    // A logit is right to its size, and so is the logarithm of a probability.
    let of_logarithm = 1.0 + magnitude / TEMPERATURE + (shape[1] as f64).ln();
    let logits = logits.clone();
    Case {
        name: format!("{name} {shape:?} of {magnitude}"),
        run: Box::new(move |format: FloatDType| {
            let ValueAndGradient { value, gradient } = loss(Logits {
                student: logits.student.clone().cast(format),
                teacher: logits.teacher.clone().cast(format),
                ..logits.clone()
            });
            vec![value.into_data(), gradient.into_data()]
        }),
        terms: vec![
            TEMPERATURE * TEMPERATURE * total * of_logarithm,
            TEMPERATURE,
        ],
    }
}
