use super::*;
use crate::testing::{assert_within, logits, weights};
use burn::tensor::Device;
use proptest::prelude::*;

const ALL: [Divergence; 19] = [
    Divergence::ForwardKl,
    Divergence::ReverseKl,
    Divergence::SoftCrossEntropy,
    Divergence::MixedKl { reverse_share: 0.3 },
    Divergence::JensenShannon { beta: 0.0 },
    Divergence::JensenShannon { beta: 0.2 },
    Divergence::JensenShannon { beta: 0.5 },
    Divergence::JensenShannon { beta: 1.0 },
    Divergence::SkewKl { alpha: 0.1 },
    Divergence::SkewReverseKl { alpha: 0.1 },
    Divergence::AdaptiveKl { head_mass: 0.5 },
    Divergence::TotalVariation,
    Divergence::AlphaBeta {
        alpha: 0.2,
        beta: 0.7,
    },
    Divergence::AlphaBeta {
        alpha: 0.0,
        beta: 0.8,
    },
    Divergence::AlphaBeta {
        alpha: 0.6,
        beta: 0.0,
    },
    Divergence::AlphaBeta {
        alpha: 0.5,
        beta: -0.5,
    },
    Divergence::AlphaBeta {
        alpha: 0.0,
        beta: 0.0,
    },
    Divergence::ProbabilitiesMse,
    Divergence::LogitsMse,
];

type Form = fn(Divergence, Tensor<2>, Tensor<2>, Tensor<1>, f64) -> ValueAndGradient;
const FORMS: [Form; 2] = [divergence, composed];

fn one(device: &Device) -> Tensor<1> {
    Tensor::from_data([1.0], device)
}

fn value(result: &ValueAndGradient) -> f32 {
    result.value.clone().into_scalar()
}

fn gradient(result: ValueAndGradient) -> Vec<f32> {
    result.gradient.into_data().iter::<f32>().collect()
}

proptest! {
    #[test]
    fn both_forms_agree(
        tokens in 1usize..6, vocabulary in 1usize..70, seed in any::<u64>(),
        scale in 0.1f32..10.0, temperature in 0.5f64..4.0, which in 0..ALL.len(),
    ) {
        let student = logits([tokens, vocabulary], seed, scale);
        let teacher = logits([tokens, vocabulary], seed ^ 1, scale);
        let weights = weights(tokens, seed);
        let [native, composed] = FORMS.map(|form| {
            form(ALL[which], student.clone(), teacher.clone(), weights.clone(), temperature)
        });
        // Logits over the temperature are exact to their last place, and so is the exponent of a
        // probability, whose error the factors T and T squared enlarge; and sums of both signs.
        let t = temperature as f32;
        let terms = 1.0 + weights.clone().sum().into_scalar::<f32>();
        let largest = value(&composed).abs() + gradient(composed.clone()).into_iter().fold(0.0, |a, g| g.abs().max(a));
        let exact = 3e-6 * (1.0 + scale / t) * (terms + largest);
        assert_within(native.value.into_data(), composed.value.into_data(), exact * t * t * vocabulary as f32);
        assert_within(native.gradient.into_data(), composed.gradient.into_data(), exact * t);
    }

    #[test]
    fn gradients_are_those_of_finite_differences(
        seed in any::<u64>(), temperature in 0.5f64..3.0, which in 0..ALL.len(), at in 0usize..5,
    ) {
        let divergence = ALL[which];
        // The adaptive KL's weights are constants to its gradient, and TVD has kinks.
        prop_assume!(!matches!(divergence, Divergence::AdaptiveKl { .. } | Divergence::TotalVariation));
        let student = logits([1, 5], seed, 1.5);
        let teacher = logits([1, 5], seed ^ 1, 1.5);
        let device = Device::flex();
        let of = |by: f64| {
            let mut step = [0.0f64; 5];
            step[at] = by;
            let step = Tensor::<2>::from_data([[step[0], step[1], step[2], step[3], step[4]]], &device);
            let student = student.clone() + step;
            let result = super::divergence(divergence, student, teacher.clone(), one(&device), temperature);
            f64::from(value(&result))
        };
        let difference = (of(1e-2) - of(-1e-2)) / 2e-2;
        let closed = super::divergence(divergence, student.clone(), teacher.clone(), one(&device), temperature);
        let closed = gradient(closed)[at];
        let tolerance = 2e-3 * (1.0 + f64::from(closed.abs()));
        prop_assert!((f64::from(closed) - difference).abs() < tolerance, "{divergence:?}: {closed} {difference}");
    }

    #[test]
    fn equals_are_zero_apart_and_stay_where_they_are(
        seed in any::<u64>(), scale in 0.1f32..40.0, temperature in 0.5f64..4.0, which in 0..ALL.len(),
    ) {
        let same = logits([2, 33], seed, scale);
        let weights = Tensor::<1>::from_data([0.5, 0.5], &Device::flex());
        for form in FORMS {
            let result = form(ALL[which], same.clone(), same.clone(), weights.clone(), temperature);
            if ALL[which] != Divergence::SoftCrossEntropy {
                prop_assert!(value(&result).abs() < 1e-4, "{:?}: {}", ALL[which], value(&result));
            }
            prop_assert!(gradient(result).iter().all(|&gradient| gradient == 0.0), "{:?}", ALL[which]);
        }
    }

    #[test]
    fn none_is_negative_and_jsd_is_bounded(
        seed in any::<u64>(), scale in 0.1f32..40.0, which in 0..ALL.len(),
    ) {
        let (student, teacher) = (logits([1, 33], seed, scale), logits([1, 33], seed ^ 1, scale));
        let result = divergence(ALL[which], student, teacher, one(&Device::flex()), 1.0);
        prop_assert!(value(&result) >= -1e-5, "{:?}: {}", ALL[which], value(&result));
        if ALL[which] == (Divergence::JensenShannon { beta: 0.5 }) {
            prop_assert!(value(&result) <= std::f32::consts::LN_2 + 1e-5);
        }
    }

    #[test]
    fn the_order_of_tokens_and_ids_changes_nothing(seed in any::<u64>(), which in 0..ALL.len()) {
        let (student, teacher) = (logits([3, 17], seed, 4.0), logits([3, 17], seed ^ 1, 4.0));
        let weights = Tensor::<1>::from_data([0.2, 0.3, 0.5], &Device::flex());
        let there = divergence(ALL[which], student.clone(), teacher.clone(), weights.clone(), 1.5);
        let back = divergence(ALL[which], student.flip([0, 1]), teacher.flip([0, 1]), weights.flip([0]), 1.5);
        let tolerance = 1e-5 * (1.0 + value(&there).abs());
        prop_assert!((value(&there) - value(&back)).abs() < tolerance);
        let largest = gradient(there.clone()).into_iter().fold(1.0f32, |a, g| g.abs().max(a));
        assert_within(there.gradient.into_data(), back.gradient.flip([0, 1]).into_data(), 1e-5 * largest);
    }
}

#[test]
fn extreme_logits_stay_finite() {
    let device = Device::flex();
    let student = Tensor::<2>::from_data([[1e4, -1e4, 0.0, f32::NEG_INFINITY]], &device);
    let teacher = Tensor::<2>::from_data([[-1e4, f32::NEG_INFINITY, 1e4, 3.0]], &device);
    for which in ALL {
        // The logits themselves are compared, and one is infinite.
        if which == Divergence::LogitsMse {
            continue;
        }
        for form in FORMS {
            let result = form(which, student.clone(), teacher.clone(), one(&device), 1.0);
            assert!(value(&result).is_finite(), "{which:?}: {}", value(&result));
            let gradient = gradient(result);
            assert!(
                gradient.iter().all(|g| g.is_finite()),
                "{which:?}: {gradient:?}"
            );
        }
    }
    for form in FORMS {
        let result = form(
            Divergence::ForwardKl,
            student.clone(),
            teacher.clone(),
            one(&device),
            1.0,
        );
        assert_eq!(value(&result), 1e4);
        assert_eq!(gradient(result), [1.0, 0.0, -1.0, 0.0]);
    }
}

#[test]
fn a_token_of_weight_zero_contributes_nothing() {
    let device = Device::flex();
    let student = Tensor::<2>::from_data([[f32::NAN, 1.0], [1.0, 2.0]], &device);
    let teacher = Tensor::<2>::from_data([[f32::NAN, 1.0], [1.0, 2.0]], &device);
    let weights = Tensor::<1>::from_data([0.0, 1.0], &device);
    for which in ALL {
        for form in FORMS {
            let result = form(
                which,
                student.clone(),
                teacher.clone(),
                weights.clone(),
                1.0,
            );
            assert!(value(&result).is_finite(), "{which:?}");
            assert_eq!(gradient(result), [0.0; 4], "{which:?}");
        }
    }
}

#[test]
fn limits_are_what_they_tend_to() {
    let device = Device::flex();
    let (student, teacher) = (logits([1, 9], 3, 2.0), logits([1, 9], 4, 2.0));
    let of = |which| {
        let result = divergence(which, student.clone(), teacher.clone(), one(&device), 1.0);
        (value(&result), gradient(result))
    };
    let alpha_beta = |alpha, beta| of(Divergence::AlphaBeta { alpha, beta });
    for (limit, near) in [
        (of(Divergence::ForwardKl), alpha_beta(1.0, 0.0)),
        (of(Divergence::ReverseKl), alpha_beta(0.0, 1.0)),
        (alpha_beta(0.0, 0.8), alpha_beta(0.01, 0.8)),
        (alpha_beta(0.7, 0.0), alpha_beta(0.7, 0.01)),
        (alpha_beta(0.5, -0.5), alpha_beta(0.5, -0.49)),
        (alpha_beta(0.0, 0.0), alpha_beta(0.01, 0.01)),
    ] {
        let close = |a: f32, b: f32| (a - b).abs() < 0.05 * (1.0 + b.abs());
        assert!(close(limit.0, near.0), "{} {}", limit.0, near.0);
        let mut pairs = limit.1.iter().zip(&near.1);
        assert!(pairs.all(|(&a, &b)| close(a, b)), "{limit:?} {near:?}");
    }
}
