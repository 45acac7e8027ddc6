//! What a trainer does with the gradients of an objective's parts: the plain step where no policy
//! says otherwise, reports that change nothing, and each policy as its definition has it.
#![allow(clippy::unwrap_used)]

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use distily::core::{
    Comparison, Feature, LanguageModel, LiveTeacher, LossTerms, ModelShape, NamedLoss, Objective,
    ObjectiveError, ObjectivePart, Seed, Taps, Teacher, TokenBatch,
};
use distily::models::{Decoder, DecoderConfig, Inheritance, StudentConfig};
use distily::objectives::{Composite, GradientPolicy, ObjectiveConfig};
use distily::{StepReport, TrainError, Trainee, Trainer, TrainingConfig};
use std::sync::Arc;

const WIDTH: usize = 16;

fn config() -> DecoderConfig {
    DecoderConfig {
        vocabulary: 30,
        width: WIDTH,
        layers: 4,
        heads: 2,
        kv_heads: 1,
        head_width: 8,
        feed_forward_width: 24,
        positions: 32,
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
    let inheritance = Inheritance::with_blocks([1, 3]);
    let device = Device::flex().autodiff();
    let half = half.of(&config()).unwrap();
    Decoder::student(&half, &teacher(), &inheritance, Seed(2), &device).unwrap()
}

fn composite(terms: &str) -> Composite {
    let config: ObjectiveConfig = toml::from_str(&format!("terms = [{terms}]")).unwrap();
    let (student, teacher) = (student().shape(), teacher().shape());
    config
        .build(&student, &teacher, Seed(3), &Device::flex().autodiff())
        .unwrap()
}

/// Forward KL, and a projector that takes the first block's output to that of the teacher's second.
#[derive(Module, Debug)]
struct KlAndHidden {
    kl: Composite,
    projector: Param<Tensor<2>>,
    #[module(skip)]
    parts: Vec<ObjectivePart>,
}

impl KlAndHidden {
    fn new() -> Self {
        let device = Device::flex().autodiff();
        let projector = Tensor::<2>::eye(WIDTH, &device).mul_scalar(-0.5);
        let part = |name: &str, output| ObjectivePart {
            name: name.to_owned(),
            output,
        };
        Self {
            kl: composite(r#"{ loss = "forward_kl" }"#),
            projector: Param::from_tensor(projector),
            parts: vec![part("forward_kl", true), part("hidden", false)],
        }
    }
}

impl Objective for KlAndHidden {
    fn taps(&self, _: &ModelShape, _: &ModelShape) -> Result<(Taps, Taps), ObjectiveError> {
        let hidden = |layer| Taps::none().with(layer, Feature::Hidden);
        Ok((hidden(0), hidden(1)))
    }

    fn evaluate(&self, comparison: &Comparison<'_>) -> Result<LossTerms, ObjectiveError> {
        let mut total = None;
        let mut terms = Vec::new();
        for part in &self.parts {
            let of_part = if part.output {
                self.kl.evaluate(comparison)?
            } else {
                let student = comparison.student.features.hidden(0).unwrap().clone();
                let teacher = comparison.teacher.features.hidden(1).unwrap().clone();
                let projected = student.matmul(self.projector.val().unsqueeze());
                let value = (projected - Tensor::from_inner(teacher)).square().sum();
                let value = value.div_scalar(comparison.predictions as f64);
                LossTerms::sum(vec![NamedLoss {
                    name: part.name.clone(),
                    weight: 0.3,
                    value,
                }])
                .unwrap()
            };
            total = Some(match total {
                None => of_part.total,
                Some(sum) => sum + of_part.total,
            });
            terms.extend(of_part.terms);
        }
        let total = total.unwrap();
        Ok(LossTerms { total, terms })
    }

    fn parts(&self) -> Vec<ObjectivePart> {
        self.parts.clone()
    }

    fn only(&self, keep: impl Fn(&ObjectivePart) -> bool) -> Option<Self> {
        let mut kept = self.clone();
        kept.parts.retain(keep);
        (!kept.parts.is_empty()).then_some(kept)
    }
}

fn training(policy: GradientPolicy) -> TrainingConfig {
    TrainingConfig {
        steps: 20,
        learning_rate: 3e-3,
        warmup: 0.0,
        clip: 1e6,
        gradient_policy: policy,
        ..TrainingConfig::default()
    }
}

fn trainer(training: TrainingConfig) -> Trainer<Decoder, KlAndHidden> {
    let teacher = Arc::new(LiveTeacher::new(teacher()));
    Trainer::new(student(), teacher, KlAndHidden::new(), training).unwrap()
}

/// Two rows and three, of unlike length.
fn batches() -> [TokenBatch; 2] {
    let row = |seed: u32, length: u32| {
        (0..length)
            .map(|t| 1 + (seed * 7 + t * t * 3) % 29)
            .collect()
    };
    let rows = |lengths: &[u32]| -> Vec<Vec<u32>> {
        let rows = lengths.iter().enumerate();
        rows.map(|(at, &length)| row(at as u32 + length, length))
            .collect()
    };
    [&[8, 5][..], &[6, 8, 3]].map(|lengths| TokenBatch::padded_right(&rows(lengths), 0).unwrap())
}

/// The value of a part of the objective over all batches and its gradient, by hand.
fn by_hand(
    trainee: &Trainee<Decoder, KlAndHidden>,
    keep: impl Fn(&ObjectivePart) -> bool,
    batches: &[TokenBatch],
) -> (f64, GradientsParams) {
    let objective = trainee.objective.only(keep).unwrap();
    let teacher = LiveTeacher::new(teacher());
    let shapes = (trainee.student.shape(), teacher.shape());
    let (taps, teacher_taps) = objective.taps(&shapes.0, &shapes.1).unwrap();
    let totals = batches.iter().map(|batch| {
        let comparison = Comparison {
            student: &trainee.student.forward(batch, &taps).unwrap(),
            head: &trainee.student.head(),
            teacher: &teacher.answer(batch, &teacher_taps).unwrap(),
            batch,
            predictions: batches.iter().map(TokenBatch::predictions).sum(),
            step: 0,
        };
        objective.evaluate(&comparison).unwrap().total
    });
    let total = totals.reduce(|sum, next| sum + next).unwrap();
    let value = f64::from(total.clone().into_scalar::<f32>());
    (
        value,
        GradientsParams::from_grads(total.backward(), trainee),
    )
}

fn trainee() -> Trainee<Decoder, KlAndHidden> {
    Trainee {
        student: student(),
        objective: KlAndHidden::new(),
    }
}

fn norm(trainee: &impl Module, gradients: &GradientsParams) -> f64 {
    struct Squares<'a>(&'a GradientsParams, f64);
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1 += f64::from(gradient.square().sum().into_scalar::<f32>());
            }
        }
    }
    let mut squares = Squares(gradients, 0.0);
    trainee.visit(&mut squares);
    squares.1.sqrt()
}

fn bits(model: &impl Module) -> Vec<Vec<u8>> {
    struct Bits(Vec<Vec<u8>>);
    impl ModuleVisitor for Bits {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().into_data().as_bytes().to_vec());
        }
    }
    let mut bits = Bits(Vec::new());
    model.visit(&mut bits);
    bits.0
}

fn run(training: TrainingConfig) -> (Vec<StepReport>, Vec<Vec<u8>>) {
    let mut trainer = trainer(training);
    let reports = (0..4).map(|_| trainer.step(&batches()).unwrap()).collect();
    (reports, bits(&trainer.into_student()))
}

#[test]
fn without_a_policy_a_step_is_the_optimizer_on_the_plain_gradient() {
    let (trainee, [batch, _]) = (trainee(), batches());
    let batch = [batch];
    let (_, gradients) = by_hand(&trainee, |_| true, &batch);
    let training = training(GradientPolicy::Fixed);
    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(0.0)
        .with_epsilon(1e-8)
        .init();
    let expected = optimizer.step(training.learning_rate, trainee, gradients);
    let mut trainer = trainer(training);
    trainer.step(&batch).unwrap();
    // The trainer's optimizer rounds in another order than burn's.
    let (ours, burns) = (bits(trainer.student()), bits(&expected.student));
    let numbers = |bits: &[Vec<u8>]| -> Vec<f32> {
        let bytes = bits.iter().flat_map(|bits| bits.chunks_exact(4));
        bytes
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect()
    };
    for (ours, burns) in numbers(&ours).into_iter().zip(numbers(&burns)) {
        assert!((ours - burns).abs() < 1e-6, "{ours} and {burns}");
    }
}

#[test]
fn a_report_comes_when_it_is_due_and_changes_no_bit() {
    for policy in [
        GradientPolicy::Fixed,
        GradientPolicy::Projected { cap: 1.0 },
    ] {
        let (plain, student) = run(training(policy));
        let (reported, same_student) = run(TrainingConfig {
            gradient_report_every: 2,
            ..training(policy)
        });
        assert_eq!(student, same_student);
        let due: Vec<bool> = reported
            .iter()
            .map(|step| step.gradients.is_some())
            .collect();
        assert_eq!(due, [false, true, false, true]);
        for (plain, reported) in plain.into_iter().zip(reported) {
            let reported = StepReport {
                gradients: None,
                ..reported
            };
            assert_eq!(plain, reported);
        }
    }
}

#[test]
fn a_report_has_the_gradient_of_each_term_over_all_batches() {
    let report = trainer(TrainingConfig {
        gradient_report_every: 1,
        ..training(GradientPolicy::Fixed)
    })
    .step(&batches())
    .unwrap();
    let [kl, hidden] = &report.gradients.unwrap().terms[..] else {
        panic!("two terms");
    };
    assert_eq!(
        (kl.term.as_str(), hidden.term.as_str()),
        ("forward_kl", "hidden")
    );
    let trainee = trainee();
    for (term, output) in [(kl, true), (hidden, false)] {
        let (_, gradients) = by_hand(&trainee, |part| part.output == output, &batches());
        let expected = norm(&trainee.student, &gradients);
        assert!(
            (term.norm - expected).abs() < 1e-4 * expected,
            "{term:?}: {expected}"
        );
    }
    assert!((kl.cosine.unwrap() - 1.0).abs() < 1e-6);
    let [embedding, first, second, ..] = &hidden.groups[..] else {
        panic!("an embedding and two blocks");
    };
    assert_eq!(embedding.group, "embed_tokens");
    assert!(first.group == "layers.0" && first.norm > 0.0 && first.cosine.is_some());
    assert_eq!(
        (second.group.as_str(), second.norm, second.cosine),
        ("layers.1", 0.0, None),
        "above the tapped block"
    );
}

#[test]
fn a_policy_combines_the_gradients_of_all_batches() {
    for policy in [
        GradientPolicy::BalancedByNorm,
        GradientPolicy::Projected { cap: 0.5 },
        GradientPolicy::Mgda,
    ] {
        let step = trainer(training(policy)).step(&batches()).unwrap();
        let trainee = trainee();
        let [output, features] =
            [true, false].map(|output| by_hand(&trainee, |part| part.output == output, &batches()));
        let loss = output.0 + features.0;
        assert!(
            (step.loss - loss).abs() < 1e-5 * loss,
            "{policy:?}: {} and {loss}",
            step.loss
        );
        let names: Vec<&str> = step.terms.iter().map(|term| term.0.as_str()).collect();
        assert_eq!(names, ["forward_kl", "hidden"]);
        let combined = policy.combine(&trainee, output.1, features.1);
        let expected = norm(&trainee, &combined);
        assert!(
            (step.gradient_norm - expected).abs() < 1e-4 * expected,
            "{policy:?}: {} and {expected}",
            step.gradient_norm
        );
    }
}

#[test]
fn losses_are_balanced_in_each_batch_with_one_forward() {
    let step = trainer(training(GradientPolicy::BalancedByLoss))
        .step(&batches()[..1])
        .unwrap();
    let trainee = trainee();
    let of = |output| by_hand(&trainee, |part| part.output == output, &batches()[..1]);
    let (output, features) = (of(true), of(false));
    assert!((step.loss - output.0 - features.0).abs() < 1e-5 * step.loss);
    assert!(features.0 > 2.0 * output.0, "they are out of balance");
    // The gradient of features on a projector that is not shared is balanced, too: the loss is.
    let weight = output.0 / features.0;
    let norms = [&output.1, &features.1].map(|of| norm(&trainee, of));
    let sum = GradientPolicy::Fixed.combine(&trainee, output.1, features.1);
    let product = (norm(&trainee, &sum).powi(2) - norms[0].powi(2) - norms[1].powi(2)) / 2.0;
    let square = norms[0].powi(2) + 2.0 * weight * product + (weight * norms[1]).powi(2);
    let expected = square.sqrt();
    assert!(
        (step.gradient_norm - expected).abs() < 1e-3 * expected,
        "{} and {expected}",
        step.gradient_norm
    );
}

#[test]
fn a_batch_in_which_nothing_is_scored_is_no_obstacle() {
    let [scored, _] = batches();
    let masked = TokenBatch::packed(vec![1, 2, 3], vec![0; 3], [1, 3]).unwrap();
    for policy in [
        GradientPolicy::Fixed,
        GradientPolicy::BalancedByLoss,
        GradientPolicy::Projected { cap: 1.0 },
    ] {
        let step = trainer(TrainingConfig {
            gradient_report_every: 1,
            ..training(policy)
        })
        .step(&[masked.clone(), scored.clone()])
        .unwrap();
        assert!(step.gradient_norm > 0.0 && step.gradients.is_some());
    }
}

#[test]
fn a_policy_needs_both_kinds_of_term() {
    let teacher = || Arc::new(LiveTeacher::new(teacher()));
    let whole = composite(r#"{ loss = "forward_kl" }"#);
    let mgda = training(GradientPolicy::Mgda);
    let error = Trainer::new(student(), teacher(), whole, mgda.clone()).unwrap_err();
    assert!(matches!(error, TrainError::Inseparable { .. }), "{error}");
    let features = KlAndHidden::new().only(|part| !part.output).unwrap();
    let error = Trainer::new(student(), teacher(), features, mgda)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("got `hidden` (features): take `fixed`"),
        "{error}"
    );
}

#[test]
fn an_objective_that_can_not_be_taken_apart_is_reported_as_a_whole() {
    #[derive(Module, Debug)]
    struct Whole {
        of: KlAndHidden,
    }
    impl Objective for Whole {
        fn taps(
            &self,
            student: &ModelShape,
            teacher: &ModelShape,
        ) -> Result<(Taps, Taps), ObjectiveError> {
            self.of.taps(student, teacher)
        }
        fn evaluate(&self, comparison: &Comparison<'_>) -> Result<LossTerms, ObjectiveError> {
            self.of.evaluate(comparison)
        }
    }
    let teacher = Arc::new(LiveTeacher::new(teacher()));
    let training = TrainingConfig {
        gradient_report_every: 1,
        ..training(GradientPolicy::Fixed)
    };
    let mut trainer = Trainer::new(
        student(),
        teacher,
        Whole {
            of: KlAndHidden::new(),
        },
        training,
    )
    .unwrap();
    let step = trainer.step(&batches()).unwrap();
    let [whole] = &step.gradients.unwrap().terms[..] else {
        panic!("one term");
    };
    assert!(whole.term == "objective" && whole.norm > 0.0);
}

#[test]
fn a_composite_is_taken_apart_with_its_projectors() {
    let terms = r#"{ loss = "forward_kl" }, { loss = "reverse_kl", weight = 0.5 },
        { loss = "hidden_mse", projector = "linear" }, { loss = { relation_kl = {} } }"#;
    for policy in [
        GradientPolicy::BalancedByLoss,
        GradientPolicy::BalancedByNorm,
        GradientPolicy::Projected { cap: 1.0 },
        GradientPolicy::Mgda,
    ] {
        let training = TrainingConfig {
            steps: 10,
            learning_rate: 1e-2,
            gradient_policy: policy,
            gradient_report_every: 5,
            ..TrainingConfig::default()
        };
        let teacher = Arc::new(LiveTeacher::new(teacher()));
        let mut trainer = Trainer::new(student(), teacher, composite(terms), training).unwrap();
        let batch = TokenBatch::new((0..24).map(|id| id % 30).collect(), [2, 12]).unwrap();
        let projectors = bits(trainer.objective());
        let reports: Vec<StepReport> = (0..10)
            .map(|_| trainer.step(std::slice::from_ref(&batch)).unwrap())
            .collect();
        assert!(reports[9].loss < reports[0].loss, "{policy:?}");
        assert_ne!(projectors, bits(trainer.objective()), "{policy:?}");
        let report = reports[4].gradients.as_ref().unwrap();
        let names: Vec<&str> = report.terms.iter().map(|term| &term.term[..]).collect();
        let all = ["forward_kl", "reverse_kl", "hidden_mse", "relation_kl"];
        assert_eq!(names, all);
        assert!(reports[3].gradients.is_none());
    }
}
