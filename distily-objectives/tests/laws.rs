//! The laws of an objective that is made of losses on the output distribution.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor, TensorData};
use distily_core::{
    Answer, Comparison, Distribution, Features, Head, ModelShape, Objective, Outputs, Seed, Taps,
    TokenBatch,
};
use distily_objectives::{LossConfig, ObjectiveConfig, TermConfig};
use proptest::prelude::*;

fn noise(shape: [usize; 3], seed: u64) -> Tensor<3> {
    use rand::Rng;
    let mut generator = Seed(seed).generator("test", 0);
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|_| (generator.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::default())
}

const WIDTH: usize = 6;

fn shape() -> ModelShape {
    ModelShape {
        vocabulary: 10,
        width: WIDTH,
        ..ModelShape::default()
    }
}

fn head(vocabulary: usize, seed: u64) -> Head {
    Head::by_vocabulary(noise([1, vocabulary, WIDTH], seed).squeeze_dim(0))
}

/// The value of three terms together for a batch.
fn value(
    batch: &TokenBatch,
    hidden: [Tensor<3>; 2],
    heads: [&Head; 2],
    predictions: usize,
    chunk: usize,
) -> f32 {
    let config = ObjectiveConfig {
        terms: [
            LossConfig::SkewReverseKl { alpha: 0.1 },
            LossConfig::JensenShannon { beta: 0.3 },
            LossConfig::CrossEntropy,
        ]
        .map(TermConfig::new)
        .into(),
    };
    let [student, teacher] = hidden;
    let outputs = Outputs::new(student, heads[0], &Taps::none());
    let answer = Answer {
        distribution: Distribution::Hidden(teacher, Box::new(heads[1].clone())),
        features: Features::default(),
    };
    let losses = config
        .build(&shape(), &shape(), Seed(1), &Device::default())
        .unwrap()
        .with_chunk(chunk)
        .evaluate(&Comparison {
            student: &outputs,
            head: heads[0],
            teacher: &answer,
            batch,
            predictions,
            step: 0,
        })
        .unwrap();
    let terms: f32 = losses
        .terms
        .iter()
        .map(|term| term.value.clone().into_scalar::<f32>())
        .sum();
    let total = losses.total.into_scalar::<f32>();
    assert!((terms - total).abs() < 1e-4, "{terms} {total}");
    total
}

fn ids(count: usize, vocabulary: u32, seed: u64) -> Vec<u32> {
    (0..count as u64)
        .map(|at| ((at * 7 + seed * 13) % u64::from(vocabulary)) as u32)
        .collect()
}

proptest! {
    #[test]
    fn masked_tokens_padding_columns_and_chunks_change_nothing(
        seed in 0u64..1000, padded in 0usize..5, chunk in 1usize..20, length in 3usize..9,
    ) {
        let (student, teacher) = (noise([2, length, WIDTH], seed), noise([2, length, WIDTH], seed + 1));
        let heads = [head(10, 5), head(10, 6)];
        let ids = ids(2 * length, 10, seed);
        // The last token of each row is padding.
        let segments: Vec<u32> = (0..2 * length).map(|at| u32::from(at % length != length - 1)).collect();
        let batch = TokenBatch::packed(ids.clone(), segments, [2, length]).unwrap();
        let predictions = batch.predictions();
        let plain = value(&batch, [student.clone(), teacher.clone()], [&heads[0], &heads[1]], predictions, 64);

        // Whatever is where no prediction counts, in chunks of any size.
        let last = |hidden: Tensor<3>| {
            let kept = hidden.narrow(1, 0, length - 2);
            let nonsense = Tensor::full([2, 2, WIDTH], f32::NAN, &Device::default());
            Tensor::cat(vec![kept, nonsense], 1)
        };
        let masked = value(&batch, [last(student.clone()), last(teacher.clone())], [&heads[0], &heads[1]], predictions, chunk);
        prop_assert!((plain - masked).abs() < 1e-5, "{plain} {masked}");

        // Either side's vocabulary may be padded, for what both have to say of the others.
        let widened = |head: &Head| {
            let more = noise([1, padded + 1, WIDTH], 77).squeeze_dim(0).mul_scalar(9.0);
            Head::by_vocabulary(Tensor::cat(vec![head.weight.clone(), more], 0))
        };
        let kl_alone = |heads: [&Head; 2]| {
            let config = ObjectiveConfig { terms: vec![TermConfig::new(LossConfig::ReverseKl)] };
            let outputs = Outputs::new(student.clone(), heads[0], &Taps::none());
            let distribution = Distribution::Hidden(teacher.clone(), Box::new(heads[1].clone()));
            let answer = Answer { distribution, features: Features::default() };
            let comparison = Comparison { student: &outputs, head: heads[0], teacher: &answer, batch: &batch, predictions, step: 0 };
            config.build(&shape(), &shape(), Seed(1), &Device::default()).unwrap().evaluate(&comparison).unwrap().total.into_scalar::<f32>()
        };
        let alone = kl_alone([&heads[0], &heads[1]]);
        prop_assert!((alone - kl_alone([&widened(&heads[0]), &heads[1]])).abs() < 1e-5);
        prop_assert!((alone - kl_alone([&heads[0], &widened(&heads[1])])).abs() < 1e-5);
    }

    #[test]
    fn a_batch_split_into_steps_has_the_same_mean(seed in 0u64..1000, length in 3usize..9) {
        let (student, teacher) = (noise([4, length, WIDTH], seed), noise([4, length, WIDTH], seed + 1));
        let heads = [head(10, 5), head(10, 6)];
        let ids = ids(4 * length, 10, seed);
        let counts: Vec<bool> = (0..4 * length as u64).map(|at| (at + seed) % 3 != 0).collect();
        let batch = |rows: std::ops::Range<usize>| {
            let part = rows.start * length..rows.end * length;
            let batch = TokenBatch::new(ids[part.clone()].to_vec(), [rows.len(), length]).unwrap();
            batch.with_loss_mask(counts[part].to_vec()).unwrap()
        };
        let whole = batch(0..4);
        let of = |rows: std::ops::Range<usize>| {
            let hidden = [student.clone().slice([rows.clone()]), teacher.clone().slice([rows.clone()])];
            value(&batch(rows), hidden, [&heads[0], &heads[1]], whole.predictions(), 5)
        };
        let parts = of(0..1) + of(1..4);
        prop_assert!((of(0..4) - parts).abs() < 1e-5);
    }
}
