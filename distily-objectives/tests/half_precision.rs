//! The losses on the output distribution in half precision.
#![allow(clippy::unwrap_used)]

use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};
use distily_core::{Head, Seed};
use distily_kernels::sparse_kl;
use distily_objectives::{
    Divergence, cross_entropy, divergence, mean_over, sampled_kl, sinkhorn, through_head, top_k_kl,
    uld,
};

const TOKENS: usize = 3;
const VOCABULARY: usize = 2000;

/// Logits of which sums over the vocabulary would be lost in bf16, in bf16.
fn logits(phase: f32) -> Tensor<2> {
    let values: Vec<f32> = (0..TOKENS * VOCABULARY)
        .map(|at| 2.0 * (at as f32 * 0.37 + phase).sin() + (at as f32 * 1.7).cos())
        .collect();
    let logits = TensorData::new(values, [TOKENS, VOCABULARY]);
    Tensor::<2>::from_data(logits, &Device::default()).cast(FloatDType::BF16)
}

type OutputLoss = Box<dyn Fn(Tensor<2>, Tensor<2>) -> Tensor<1>>;

/// Every loss on the output distribution.
fn losses() -> Vec<(String, OutputLoss)> {
    let weights = || mean_over(&[true, false, true], &Device::default());
    let mut losses: Vec<(String, OutputLoss)> = [
        Divergence::ForwardKl,
        Divergence::ReverseKl,
        Divergence::SoftCrossEntropy,
        Divergence::MixedKl { reverse_share: 0.3 },
        Divergence::JensenShannon { beta: 0.3 },
        Divergence::SkewKl { alpha: 0.1 },
        Divergence::SkewReverseKl { alpha: 0.1 },
        Divergence::AdaptiveKl { head_mass: 0.5 },
        Divergence::TotalVariation,
        Divergence::AlphaBeta {
            alpha: 0.2,
            beta: 0.7,
        },
        Divergence::ProbabilitiesMse,
        Divergence::LogitsMse,
    ]
    .into_iter()
    .map(|of| {
        let loss = move |s, t| divergence(of, s, t, weights(), 2.0);
        (format!("{of:?}"), Box::new(loss) as OutputLoss)
    })
    .collect();
    let mut push = |name: &str, loss: OutputLoss| losses.push((name.to_owned(), loss));
    push(
        "cross entropy",
        Box::new(move |s, _| {
            let targets = Tensor::<1, Int>::from_data([7, 0, 1999], &Device::default());
            cross_entropy(s, targets, weights())
        }),
    );
    push(
        "sparse",
        Box::new(move |s, _| {
            let device = Device::default();
            let ids = Tensor::<2, Int>::from_data([[3, 5], [0, 1], [1999, 0]], &device);
            let p = Tensor::<2>::from_data([[0.5, 0.25], [0.5, 0.25], [0.5, 0.25]], &device);
            let tail = Tensor::<1>::from_data([0.25; TOKENS], &device);
            sparse_kl(s.clone(), ids, p, tail, weights(), 2.0).attached_to(s)
        }),
    );
    push("uld", Box::new(move |s, t| uld(s, t, weights(), 2.0)));
    push(
        "top-k",
        Box::new(move |s, t| top_k_kl(s, t, 9, weights(), 2.0)),
    );
    push(
        "sampled",
        Box::new(move |s, t| {
            let mut generator = Seed(1).generator("test", 0);
            sampled_kl(s, t, 30, weights(), 2.0, &mut generator)
        }),
    );
    push(
        "sinkhorn",
        Box::new(move |s, t| sinkhorn(s, t, weights(), 2.0, 0.1, 10)),
    );
    losses
}

/// The value and the gradient at logits; and the latter's format.
fn value_and_gradient(loss: &OutputLoss, s: Tensor<2>, t: Tensor<2>) -> (f64, Vec<f64>, DType) {
    let student = Tensor::from_inner(s).require_grad();
    let loss = loss(student.clone(), t);
    let gradient = student.grad(&loss.backward()).unwrap();
    let format = gradient.dtype();
    let gradient = gradient.into_data().iter::<f64>().collect();
    (f64::from(loss.into_scalar::<f32>()), gradient, format)
}

/// Half precision is widened before anything is added up: the value is that of the same logits in
/// f32, and so is the gradient, rounded.
#[test]
fn half_precision_stays_near_f32() {
    // A GPU may have no bf16.
    if Device::default() != Device::flex() {
        return;
    }
    let (student, teacher) = (logits(0.0), logits(0.8));
    let wide = |x: &Tensor<2>| x.clone().cast(FloatDType::F32);
    for (name, loss) in losses() {
        let (value, gradient, format) = value_and_gradient(&loss, student.clone(), teacher.clone());
        let (expected, of_wide, _) = value_and_gradient(&loss, wide(&student), wide(&teacher));
        assert_eq!(format, DType::BF16, "{name}");
        assert!(
            (value - expected).abs() <= 1e-5 * (1.0 + expected.abs()) && value != 0.0,
            "{name}: {value} {expected}"
        );
        for (got, expected) in gradient.into_iter().zip(of_wide) {
            let difference = (got - expected).abs();
            assert!(
                difference <= 5e-3 * expected.abs(),
                "{name}: {got} {expected}"
            );
        }
    }
}

/// And so does a head that is fused with one, whose own gradient is added up in its own format.
#[test]
fn a_head_in_half_precision_stays_near_f32() {
    // A GPU may have no bf16.
    if Device::default() != Device::flex() {
        return;
    }
    let device = Device::default().autodiff();
    let teacher = logits(0.8).cast(FloatDType::F32);
    let of = |format: FloatDType| {
        let hidden = logits(0.0).slice([0..TOKENS, 0..8]).cast(format);
        let weight = logits(0.3)
            .flatten::<1>(0, 1)
            .narrow(0, 0, 2000)
            .reshape([250, 8]);
        let hidden = Tensor::from_inner(hidden).require_grad();
        let weight = weight.cast(FloatDType::F32) * 0.1;
        let weight = Tensor::from_inner(weight).require_grad();
        let head = Head::by_vocabulary(weight.clone());
        let teacher = teacher.clone().slice([0..TOKENS, 0..250]);
        let weights = mean_over(&[true, false, true], &device);
        let loss = through_head(hidden.clone(), &head, 2, |student, range| {
            let teacher = teacher.clone().slice([range.clone()]);
            let weights = weights.clone().slice([range]);
            distily_kernels::divergence(Divergence::ForwardKl, student, teacher, weights, 1.0)
        });
        let gradients = loss.backward();
        let of = |x: &Tensor<2>| -> Vec<f64> {
            x.grad(&gradients)
                .unwrap()
                .into_data()
                .iter::<f64>()
                .collect()
        };
        (loss.into_scalar::<f32>(), [of(&hidden), of(&weight)])
    };
    let (value, gradients) = of(FloatDType::BF16);
    let (expected, wide) = of(FloatDType::F32);
    assert!(
        (value - expected).abs() < 0.02 * expected,
        "{value} {expected}"
    );
    for (got, expected) in gradients.into_iter().zip(wide) {
        let largest = expected
            .iter()
            .fold(0f64, |largest, x| largest.max(x.abs()));
        for (got, expected) in got.into_iter().zip(expected) {
            assert!((got - expected).abs() < 0.03 * largest, "{got} {expected}");
        }
    }
}
