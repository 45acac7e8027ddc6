use crate::cases::{Case, Logits, attention, losses, losses_with_jumps, rows};
use burn::tensor::{Device, FloatDType, Tensor};
use distily_kernels::Segments;

fn assert_finite(case: &Case) {
    for format in [FloatDType::F32, FloatDType::F64] {
        for (at, result) in (case.run)(format).into_iter().enumerate() {
            let all = result.iter::<f64>().all(f64::is_finite);
            assert!(all, "{}: result {at} in {format:?} is {result}", case.name);
        }
    }
}

#[test]
fn losses_are_finite_at_extreme_logits() {
    let device = Device::flex();
    let none = f32::NEG_INFINITY;
    let student = [
        [1e4, -1e4, 0.0],
        [1e4, 1e4, 1e4],
        [-1e4, -1e4, 1e4],
        [none, 0.0, 1e4],
    ];
    let teacher = [
        [-1e4, 1e4, 0.0],
        [1e4, none, none],
        [-1e4, 1e4, -1e4],
        [1e4, 0.0, none],
    ];
    let logits = Logits {
        student: Tensor::from_data(student, &device),
        teacher: Tensor::from_data(teacher, &device),
        weights: Tensor::ones([4], &device),
        magnitude: 1e4,
    };
    losses_with_jumps(&logits).iter().for_each(assert_finite);
    for case in losses(&logits) {
        // The logits themselves are infinitely apart, and so are a distribution and one that calls
        // impossible what the first knows: the label, or one of the likeliest ids.
        let infinite = ["LogitsMse", "cross_entropy", "sparse_kl"];
        if !infinite.iter().any(|name| case.name.starts_with(name)) {
            assert_finite(&case);
        }
    }
    let finite = Logits {
        student: logits.student.clamp_min(-1e4),
        teacher: logits.teacher.clamp_min(-1e4),
        ..logits
    };
    losses(&finite).iter().for_each(assert_finite);
}

#[test]
fn attention_is_finite_at_extreme_scores() {
    for ids in [vec![1; 70], vec![0; 70]] {
        let segments = Segments::new(ids, [1, 70]);
        assert_finite(&attention([1, 70, 2, 5], 70, 2, segments, 1, 1e4));
    }
}

#[test]
fn rows_are_finite_from_0_to_1e9() {
    for magnitude in [0.0, 1e-30, 1e9] {
        rows(3, 33, 1, magnitude).iter().for_each(assert_finite);
    }
}
