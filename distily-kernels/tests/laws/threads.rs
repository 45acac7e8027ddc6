use crate::cases::{Case, Logits, attention, losses, losses_with_jumps, optimizers, rows};
use burn::tensor::FloatDType;
use distily_kernels::Segments;

/// Of each result, the bits of its elements.
fn on(threads: usize, case: &Case) -> Vec<Vec<u64>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let results = pool.unwrap().install(|| (case.run)(FloatDType::F32));
    let bits = |result: burn::tensor::TensorData| result.iter::<f64>().map(f64::to_bits).collect();
    results.into_iter().map(bits).collect()
}

fn assert_the_same(case: &Case) {
    let on_one = on(1, case);
    for threads in [2, 3] {
        assert!(
            on_one == on(threads, case),
            "{} on {threads} threads",
            case.name
        );
    }
}

/// Sizes that are spread over more cores than there are, with a rest.
#[test]
fn every_kernel_is_the_same_bits_on_any_number_of_threads() {
    let ids = [
        vec![1; 200],
        [vec![1; 77], vec![2; 100], vec![0; 23]].concat(),
    ]
    .concat();
    let segments = Segments::new(ids, [2, 200]);
    assert_the_same(&attention([2, 200, 3, 17], 200, 3, segments, 1, 2.0));
    rows(999, 131, 2, 3.0).iter().for_each(assert_the_same);
    let logits = Logits::drawn([37, 4001], 3, 5.0);
    losses(&logits).iter().for_each(assert_the_same);
    losses_with_jumps(&logits).iter().for_each(assert_the_same);
    optimizers(333, 777, 4).iter().for_each(assert_the_same);
}
