use crate::cases::{Case, Logits, attention, losses, optimizers, rows};
use burn::tensor::FloatDType;
use distily_kernels::Segments;
use proptest::prelude::*;

/// The native form, in f32, against the composition in f64: within 1e-5 of the largest element of a
/// result, or of the terms that were added up to it.
fn assert_precise(case: &Case) {
    let native = (case.run)(FloatDType::F32);
    let exact = (case.run)(FloatDType::F64);
    assert_eq!(native.len(), exact.len());
    assert_eq!(native.len(), case.terms.len());
    let results = native.iter().zip(&exact).zip(&case.terms).enumerate();
    for (at, ((native, exact), &terms)) in results {
        assert_eq!(native.shape(), exact.shape(), "{}", case.name);
        let largest = exact.iter::<f64>().fold(terms, |most, x| most.max(x.abs()));
        for (element, (a, b)) in native.iter::<f64>().zip(exact.iter::<f64>()).enumerate() {
            assert!(
                (a - b).abs() <= 1e-5 * largest,
                "{}: element {element} of result {at} is {a}, not {b}, of {largest} at most",
                case.name
            );
        }
    }
}

/// Documents of all lengths, padding anywhere.
fn documents(row: u64, tokens: usize, seed: u64) -> Vec<u32> {
    let mut id = 1;
    let draws = (0..tokens as u64).map(|at| {
        let draw = (seed ^ (row << 32))
            .wrapping_add(at)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 60;
        id += u32::from(draw > 12);
        if draw < 2 { 0 } else { id }
    });
    draws.collect()
}

proptest! {
    #[test]
    fn attention_is_precise(
        tokens in 1usize..200, kv_heads in 1usize..4, group in 1usize..4, width in 1usize..33,
        skipped in 0usize..200, window in prop_oneof![Just(usize::MAX), 1usize..150],
        seed in any::<u64>(), magnitude in 0.1f32..5.0,
    ) {
        // One row of documents, one that is nothing but padding, one without any.
        let ids = [documents(0, tokens, seed), vec![0; tokens], vec![1; tokens]].concat();
        let segments = Segments::new(ids, [3, tokens]).within(window);
        let queries = tokens - skipped.min(tokens - 1);
        let shape = [3, tokens, kv_heads, width];
        assert_precise(&attention(shape, queries, group, segments, seed, magnitude));
    }

    #[test]
    fn rows_are_precise(
        count in 1usize..80, width in 8usize..80, seed in any::<u64>(), exponent in -2i32..3,
    ) {
        for case in rows(count, width, seed, 10f32.powi(exponent)) {
            assert_precise(&case);
        }
    }

    #[test]
    fn losses_are_precise(
        tokens in 1usize..6, vocabulary in 1usize..300, seed in any::<u64>(),
        magnitude in 0.1f32..10.0,
    ) {
        let logits = Logits::drawn([tokens, vocabulary], seed, magnitude);
        let all_masked = Logits { weights: logits.weights.zeros_like(), ..logits.clone() };
        for case in losses(&logits).into_iter().chain(losses(&all_masked)) {
            assert_precise(&case);
        }
    }

    #[test]
    fn optimizers_are_precise(rows in 1usize..40, columns in 1usize..700, seed in any::<u64>()) {
        for case in optimizers(rows, columns, seed) {
            assert_precise(&case);
        }
    }
}
