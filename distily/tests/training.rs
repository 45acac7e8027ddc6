//! What a trainer promises: the same bits for the same seed, frozen parts untouched, accumulation
//! that changes nothing, and errors that say what is wrong.
#![allow(clippy::unwrap_used)]

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use distily::core::{
    Comparison, LanguageModel, LiveTeacher, ModelShape, ObjectiveError, Seed, Taps, Term,
    TokenBatch,
};
use distily::data::{Packing, TokenRows, Tokens};
use distily::models::{Decoder, DecoderConfig, Inheritance, StudentConfig, freeze};
use distily::objectives::{Composite, ObjectiveConfig};
use distily::{OptimizerConfig, TrainError, Trainer, TrainingConfig};
use std::sync::Arc;

fn config() -> DecoderConfig {
    DecoderConfig {
        vocabulary: 40,
        width: 24,
        layers: 4,
        heads: 2,
        kv_heads: 1,
        head_width: 12,
        feed_forward_width: 32,
        positions: 64,
        initializer_range: 0.2,
        ..DecoderConfig::default()
    }
}

fn teacher() -> Decoder {
    Decoder::random(&config(), Seed(1), &Device::flex()).unwrap()
}

fn student() -> Decoder {
    let half = StudentConfig {
        layers: Some(2),
        ..StudentConfig::default()
    };
    Decoder::student(
        &half.of(&config()).unwrap(),
        &teacher(),
        &Inheritance::with_blocks([1, 3]),
        Seed(2),
        &Device::flex().autodiff(),
    )
    .unwrap()
}

fn objective() -> Composite {
    let config = r#"{ "terms": [
        { "loss": "forward_kl", "weight": 0.8, "temperature": 2.0 },
        { "loss": "cross_entropy", "weight": 0.2 }
    ] }"#;
    serde_json::from_str::<ObjectiveConfig>(config)
        .unwrap()
        .build(
            &student().shape(),
            &teacher().shape(),
            Seed(3),
            &Device::flex().autodiff(),
        )
        .unwrap()
}

fn training() -> TrainingConfig {
    TrainingConfig {
        steps: 20,
        learning_rate: 3e-3,
        batch_size: 4,
        ..TrainingConfig::default()
    }
}

fn trainer(student: Decoder, training: TrainingConfig) -> Trainer<Decoder, Composite> {
    Trainer::new(
        student,
        Arc::new(LiveTeacher::new(teacher())),
        objective(),
        training,
    )
    .unwrap()
}

/// Documents of unequal length, packed: rows have several segments and padding.
fn rows() -> TokenRows {
    let documents: Vec<Vec<u32>> = (0..30u32)
        .map(|d| {
            (0..5 + d % 17)
                .map(|t| 1 + (d * 7 + t * t * 3) % 39)
                .chain([0])
                .collect()
        })
        .collect();
    TokenRows::pack(Tokens::new(&documents).unwrap(), Packing::Wrapped, 16).unwrap()
}

fn losses(training: TrainingConfig) -> (Vec<f64>, Decoder) {
    let rows = rows();
    let batches = rows.batches(training.batch_size).after(Seed(5), 0);
    let mut trainer = trainer(student(), training.clone());
    let losses = batches
        .take(training.steps)
        .map(|batch| trainer.step(&[batch.unwrap()]).unwrap().loss)
        .collect();
    (losses, trainer.into_student())
}

fn weights(model: &Decoder) -> Vec<Vec<u8>> {
    model
        .layers
        .iter()
        .map(|layer| {
            layer
                .mlp
                .up_proj
                .weight
                .val()
                .into_data()
                .as_bytes()
                .to_vec()
        })
        .chain([model
            .embed_tokens
            .weight
            .val()
            .into_data()
            .as_bytes()
            .to_vec()])
        .collect()
}

#[test]
fn the_same_seed_is_the_same_bits_also_while_other_threads_train() {
    let (first, first_student) = losses(training());
    let others: Vec<_> = (0..3)
        .map(|_| std::thread::spawn(|| losses(training())))
        .collect();
    let (second, second_student) = losses(training());
    assert_eq!(first, second);
    assert_eq!(weights(&first_student), weights(&second_student));
    for other in others {
        let (losses, student) = other.join().unwrap();
        assert_eq!(first, losses);
        assert_eq!(weights(&first_student), weights(&student));
    }
}

#[test]
fn a_student_learns_with_either_optimizer_and_differs_by_it() {
    let lion = OptimizerConfig::Lion {
        beta_1: 0.9,
        beta_2: 0.99,
        weight_decay: 0.0,
    };
    let (adamw, _) = losses(training());
    let (lion, _) = losses(TrainingConfig {
        optimizer: lion,
        learning_rate: 1e-3,
        ..training()
    });
    for losses in [&adamw, &lion] {
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        assert!(mean(&losses[16..]) < 0.9 * mean(&losses[..4]), "{losses:?}");
    }
    assert_ne!(adamw[5], lion[5]);
}

#[test]
fn what_is_frozen_stays_bit_for_bit() {
    let student = freeze(student(), &["embed_tokens", r"layers\.0\."]).unwrap();
    let before = weights(&student.valid());
    let mut trainer = trainer(student, training());
    for batch in rows().batches(4).after(Seed(5), 0).take(5) {
        trainer.step(&[batch.unwrap()]).unwrap();
    }
    let after = weights(&trainer.into_student());
    assert_eq!(before[0], after[0], "the frozen layer");
    assert_ne!(before[1], after[1], "the trained layer");
    assert_eq!(before[2], after[2], "the frozen embedding");
}

#[test]
fn a_step_split_in_two_is_the_step() {
    let batches = [0, 1].map(|index| rows().batches(2).at(Seed(5), 0, index).unwrap());
    let [ids, segments] = [0, 1].map(|part| -> Vec<u32> {
        batches
            .iter()
            .flat_map(|batch| match part {
                0 => batch.id_rows().flatten().copied().collect::<Vec<_>>(),
                _ => batch.segments().ids().to_vec(),
            })
            .collect()
    });
    let whole = TokenBatch::packed(ids, segments, [4, 16]).unwrap();
    assert_ne!(
        batches[0].predictions(),
        batches[1].predictions(),
        "the parts weigh differently"
    );
    let one = trainer(student(), training()).step(&[whole]).unwrap();
    let two = trainer(student(), training()).step(&batches).unwrap();
    assert!(
        (one.loss - two.loss).abs() < 1e-5,
        "{} and {}",
        one.loss,
        two.loss
    );
    assert!((one.gradient_norm - two.gradient_norm).abs() < 1e-4 * one.gradient_norm);
    assert_eq!(one.predictions, two.predictions);
}

#[test]
fn the_gradient_is_clipped_to_its_global_norm() {
    // Lion's first update has the gradient's sign alone, so look at AdamW's: it is invariant to
    // scale too, but for epsilon, which a large one makes visible.
    let adamw = |epsilon| OptimizerConfig::AdamW {
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon,
        weight_decay: 0.0,
    };
    let moved = |clip: f64| {
        let before = student().valid();
        let config = TrainingConfig {
            clip,
            optimizer: adamw(1e3),
            warmup: 0.0,
            learning_rate: 1e3,
            ..training()
        };
        let mut trainer = trainer(student(), config);
        let norm = trainer
            .step(&[rows().batches(4).at(Seed(5), 0, 0).unwrap()])
            .unwrap()
            .gradient_norm;
        let after = trainer.into_student();
        let change = (after.norm.weight.val() - before.norm.weight.val())
            .square()
            .sum()
            .sqrt();
        (norm, f64::from(change.into_scalar::<f32>()))
    };
    let (norm, free) = moved(1e6);
    let (same_norm, clipped) = moved(norm / 10.0);
    assert_eq!(norm, same_norm, "the norm before clipping is reported");
    assert!((free / clipped - 10.0).abs() < 0.1, "{free} and {clipped}");
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let batch = rows().batches(3).at(Seed(5), 0, 0).unwrap();
    let loss_of = |student: &Decoder| -> Tensor<1> {
        use distily::core::{Comparison, Objective, Taps, Teacher};
        let teacher = LiveTeacher::new(teacher())
            .answer(&batch, &Taps::none())
            .unwrap();
        let outputs = student.forward(&batch, &Taps::none()).unwrap();
        let comparison = Comparison {
            student: &outputs,
            head: &student.head(),
            teacher: &teacher,
            batch: &batch,
            predictions: batch.predictions(),
            step: 0,
        };
        objective().evaluate(&comparison).unwrap().total
    };
    let model = student();
    let gradients = GradientsParams::from_grads(loss_of(&model).backward(), &model);
    /// Moves every weight along its gradient.
    struct Along<'a>(&'a GradientsParams, f64, f64);
    impl ModuleMapper for Along<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let gradient = self
                .0
                .get::<D>(param.id)
                .expect("every weight has a gradient");
            self.2 += f64::from(gradient.clone().square().sum().into_scalar::<f32>());
            let by = self.1;
            param.map(|value| value.without_autodiff() + gradient.mul_scalar(by))
        }
    }
    let at = |by: f64| {
        let mut along = Along(&gradients, by, 0.0);
        let moved = model.clone().map(&mut along);
        (f64::from(loss_of(&moved).into_scalar::<f32>()), along.2)
    };
    let step = 1e-3;
    let ((plus, squares), (minus, _)) = (at(step), at(-step));
    let slope = (plus - minus) / (2.0 * step);
    assert!(
        (slope - squares).abs() < 1e-2 * squares,
        "{slope} and {squares}"
    );
}

#[test]
fn a_teacher_builds_no_graph_and_goes_to_other_devices() {
    use distily::core::{Distribution, Taps, Teacher};
    let batch = TokenBatch::new(vec![1, 2, 3, 4], [2, 2]).unwrap();
    // Made of a model that could be trained, and asked for an autodiff device.
    let teacher = LiveTeacher::new(student());
    for teacher in [teacher.on(&Device::flex().autodiff()), Arc::new(teacher)] {
        let answer = teacher.answer(&batch, &Taps::logits()).unwrap();
        let Distribution::Logits(logits) = answer.distribution else {
            panic!("logits were tapped");
        };
        assert!(!logits.is_autodiff());
        let answer = teacher.answer(&batch, &Taps::none()).unwrap();
        let Distribution::Hidden(hidden, head) = answer.distribution else {
            panic!("nothing was tapped");
        };
        let same = head.logits(hidden).into_data();
        assert_eq!(same, logits.into_data());
    }
}

/// A loss of 0 with an infinite slope.
#[derive(Debug)]
struct Cliff;

impl Term for Cliff {
    fn name(&self) -> &str {
        "cliff"
    }
    fn weight(&self, _: usize) -> f64 {
        1.0
    }
    fn taps(&self, _: &ModelShape, _: &ModelShape) -> Result<(Taps, Taps), ObjectiveError> {
        Ok((Taps::none(), Taps::none()))
    }
    fn value(&self, comparison: &Comparison<'_>) -> Result<Tensor<1>, ObjectiveError> {
        let hidden = comparison.student.hidden.clone();
        Ok((hidden.clone() - hidden.detach()).sum().abs().sqrt())
    }
}

#[test]
fn a_gradient_that_is_no_number_leaves_the_student_as_it_was() {
    let objective = Composite::new(vec![Arc::new(Cliff)]).unwrap();
    let live = Arc::new(LiveTeacher::new(teacher()));
    let mut trainer = Trainer::new(student(), live, objective, training()).unwrap();
    let before = weights(trainer.student());
    let batch = rows().batches(2).at(Seed(1), 0, 0).unwrap();
    let error = trainer.step(&[batch]).unwrap_err();
    assert!(
        matches!(error, TrainError::GradientDiverged { step: 1, .. }),
        "{error}"
    );
    assert_eq!(weights(trainer.student()), before);
    assert_eq!(trainer.steps_taken(), 0);
}

#[test]
fn what_can_not_be_trained_is_an_error() {
    let teacher = || Arc::new(LiveTeacher::new(teacher()));
    let error = Trainer::new(student().valid(), teacher(), objective(), training()).unwrap_err();
    assert!(matches!(error, TrainError::NoAutodiff), "{error}");
    let frozen = freeze(student(), &["."]).unwrap();
    let error = Trainer::new(frozen, teacher(), objective(), training()).unwrap_err();
    assert!(matches!(error, TrainError::AllFrozen), "{error}");
    let nothing = TrainingConfig {
        steps: 0,
        ..training()
    };
    let error = Trainer::new(student(), teacher(), objective(), nothing).unwrap_err();
    assert_eq!(error.to_string(), "`steps`: got 0, expected 1 or more");
    let masked = TokenBatch::packed(vec![1, 2, 3], vec![0; 3], [1, 3]).unwrap();
    let error = trainer(student(), training()).step(&[masked]).unwrap_err();
    assert!(
        matches!(error, TrainError::NothingScored { step: 1 }),
        "{error}"
    );
}
