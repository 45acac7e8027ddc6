//! Objectives on features, through the trainer: every loss falls, between models of unequal width
//! and depth, with what is trained for it.
#![allow(clippy::unwrap_used)]

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};
use distily::core::{LanguageModel, LiveTeacher, Objective, Seed, TokenBatch};
use distily::models::{Architecture, Decoder, DecoderConfig};
use distily::objectives::{Composite, ObjectiveConfig};
use distily::{Trainer, TrainingConfig};
use std::collections::HashSet;
use std::sync::Arc;

fn model(width: usize, layers: usize, heads: usize, seed: u64, device: &Device) -> Decoder {
    let config = DecoderConfig {
        architecture: Architecture::Llama,
        vocabulary: 40,
        width,
        layers,
        heads,
        kv_heads: heads / 2,
        head_width: 8,
        feed_forward_width: 2 * width,
        ..DecoderConfig::default()
    };
    Decoder::random(&config, Seed(seed), device).unwrap()
}

fn teacher() -> Decoder {
    model(24, 4, 4, 1, &Device::flex())
}

fn student() -> Decoder {
    model(16, 2, 2, 2, &Device::flex().autodiff())
}

fn batch(step: usize) -> TokenBatch {
    let ids = (0..4 * 12)
        .map(|at| ((at * at + 5 * step) % 40) as u32)
        .collect();
    // Two documents and padding in the first row.
    let segments = (0..4 * 12).map(|at| match at {
        0..5 => 1,
        5..10 => 2,
        10..12 => 0,
        _ => 1,
    });
    TokenBatch::packed(ids, segments.collect::<Vec<u32>>(), [4, 12]).unwrap()
}

fn objective(terms: &str) -> Composite {
    let config: ObjectiveConfig = toml::from_str(&format!("terms = [{terms}]")).unwrap();
    let student = student();
    config
        .build(
            &student.shape(),
            &teacher().shape(),
            Seed(3),
            &student.device(),
        )
        .unwrap()
}

fn trainer(objective: Composite) -> Trainer<Decoder, Composite> {
    let training = TrainingConfig {
        steps: 60,
        learning_rate: 1e-2,
        clip: 10.0,
        ..TrainingConfig::default()
    };
    Trainer::new(
        student(),
        Arc::new(LiveTeacher::new(teacher())),
        objective,
        training,
    )
    .unwrap()
}

#[test]
fn every_loss_on_features_falls() {
    for (term, to) in [
        (r#"{ loss = "hidden_mse", projector = "linear" }"#, 0.5),
        (
            r#"{ loss = "hidden_mse", projector = { mlp = {} }, norm = "layer" }"#,
            0.5,
        ),
        (
            r#"{ loss = "cosine", projector = "orthogonal", norm = "rms" }"#,
            0.7,
        ),
        (
            r#"{ loss = { logsum = {} }, projector = "linear", layers = { last_k = { k = 1 } } }"#,
            0.7,
        ),
        (
            r#"{ loss = "hidden_mse", projector = { ensemble = {} }, norm = "layer" }"#,
            0.5,
        ),
        (r#"{ loss = "forward_kl", projector = "orthogonal" }"#, 0.7),
        (r#"{ loss = "cka" }"#, 0.7),
        (
            r#"{ loss = { info_nce = {} }, projector = "linear", layers = "last" }"#,
            0.7,
        ),
        (r#"{ loss = { dist = {} }, projector = "linear" }"#, 0.7),
        ("{ loss = { relation_mse = {} } }", 0.5),
        (
            r#"{ loss = { relation_kl = { heads = 4, of = ["value"] } }, layers = "last" }"#,
            0.5,
        ),
        ("{ loss = { relation_normalized_kl = { tau = 0.5 } } }", 0.5),
        (r#"{ loss = "attention_mse" }"#, 0.5),
        (
            r#"{ loss = "attention_kl", layers = "uniform_consecutive" }"#,
            0.5,
        ),
    ] {
        let mut trainer = trainer(objective(term));
        let losses: Vec<f64> = (0..60)
            .map(|_| trainer.step(&[batch(0)]).unwrap().loss)
            .collect();
        assert!(
            losses[59] < to * losses[0],
            "{term}: {} to {}",
            losses[0],
            losses[59]
        );
    }
}

/// Every parameter of a module, by its id.
fn parameters(module: &impl Module) -> Vec<(ParamId, Vec<f32>)> {
    struct All(Vec<(ParamId, Vec<f32>)>);
    impl burn::module::ModuleVisitor for All {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0
                .push((param.id, param.val().into_data().iter::<f32>().collect()));
        }
    }
    let mut all = All(Vec::new());
    module.visit(&mut all);
    all.0
}

#[test]
fn each_pair_has_a_projector_that_is_trained_and_never_exported() {
    let objective =
        objective(r#"{ loss = "forward_kl" }, { loss = "hidden_mse", projector = "linear" }"#);
    let before = parameters(&objective);
    assert_eq!(before.len(), 2, "one for each of two pairs");
    let ids: HashSet<_> = before.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(before[0].1, before[1].1);

    let mut trainer = trainer(objective);
    trainer.step(&[batch(0)]).unwrap();
    let after = parameters(trainer.objective());
    for ((id, before), (same, after)) in before.iter().zip(&after) {
        assert_eq!(id, same);
        assert_ne!(before, after, "it is trained");
    }
    // A record keeps them.
    let record = trainer.objective().clone().into_record();
    let fresh = self::objective(
        r#"{ loss = "forward_kl" }, { loss = "hidden_mse", projector = "linear" }"#,
    );
    let loaded = parameters(&fresh.load_record(record));
    for ((_, loaded), (_, after)) in loaded.iter().zip(&after) {
        assert_eq!(loaded, after);
    }
    let of_student = parameters(&trainer.into_student());
    assert!(of_student.iter().all(|(id, _)| !ids.contains(id)));
}

#[test]
fn whitening_is_calibrated_on_the_teacher_and_kept_as_it_is() {
    let terms = r#"{ loss = "hidden_mse", projector = "linear", norm = { whitened = {} } }"#;
    let shapes = (student().shape(), teacher().shape());
    let error = objective(terms).taps(&shapes.0, &shapes.1).unwrap_err();
    assert!(error.to_string().contains("calibrated"), "{error}");

    let live = LiveTeacher::new(teacher());
    let too_few =
        objective(terms).calibrated(&live, [TokenBatch::new(vec![1, 2, 3], [1, 3]).unwrap()]);
    assert!(too_few.unwrap_err().to_string().contains("more batches"));

    let objective = objective(terms)
        .calibrated(&live, (0..4).map(batch))
        .unwrap();
    let frozen = |objective: &Composite| -> Vec<Vec<f32>> {
        let all = parameters(objective).into_iter();
        all.filter(|(_, values)| values.len() != 16 * 24)
            .map(|(_, values)| values)
            .collect()
    };
    let before = frozen(&objective);
    assert_eq!(before.len(), 4, "mean and factor of two pairs");
    let mut trainer = trainer(objective);
    let first = trainer.step(&[batch(0)]).unwrap().loss;
    let last = (0..59)
        .map(|_| trainer.step(&[batch(0)]).unwrap().loss)
        .last()
        .unwrap();
    assert!(last < 0.8 * first, "{first} to {last}");
    assert_eq!(frozen(trainer.objective()), before);
}

#[test]
fn weights_follow_their_schedule_and_their_sum_is_the_loss() {
    let objective = objective(
        r#"{ loss = "forward_kl", weight = { from = 1.0, to = 0.0, steps = 2 } },
           { loss = "cka", weight = { from = 0.0, to = 2.0, steps = 2 } }"#,
    );
    let mut trainer = trainer(objective);
    for (of_kl, of_cka) in [(1.0, 0.0), (0.5, 1.0), (0.0, 2.0), (0.0, 2.0)] {
        let report = trainer.step(&[batch(0)]).unwrap();
        let sum = of_kl * report.terms[0].1 + of_cka * report.terms[1].1;
        assert!((report.loss - sum).abs() < 1e-5, "{report:?}");
    }
}

#[test]
fn other_models_than_it_was_built_for_are_refused() {
    let objective = objective(r#"{ loss = "cka" }"#);
    let error = objective
        .taps(&teacher().shape(), &teacher().shape())
        .unwrap_err();
    assert!(
        error.to_string().contains("built for the student"),
        "{error}"
    );
}
