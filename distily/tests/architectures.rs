//! A student of every architecture learns from a teacher of every other.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use distily::core::{LanguageModel, LiveTeacher, Seed, Teacher, TokenBatch};
use distily::models::{Architecture, Decoder, DecoderConfig};
use distily::objectives::{Composite, ObjectiveConfig};
use distily::{Trainer, TrainingConfig};
use std::sync::Arc;

fn model(architecture: Architecture, seed: u64, device: &Device) -> Decoder {
    let config = DecoderConfig {
        vocabulary: 24,
        width: 16,
        layers: 2,
        heads: 2,
        kv_heads: 2,
        head_width: 8,
        feed_forward_width: 24,
        positions: 32,
        // Sharp enough for a teacher to be worth learning from.
        initializer_range: 0.3,
        ..DecoderConfig::of(architecture)
    };
    Decoder::random(&config, Seed(seed), device).unwrap()
}

fn batch(step: u64) -> TokenBatch {
    let ids = (0..64)
        .map(|at| ((at * at + 7 * step) % 23) as u32)
        .collect();
    TokenBatch::new(ids, [4, 16]).unwrap()
}

fn trainer(
    student: Architecture,
    teacher: &Arc<dyn Teacher>,
    seed: u64,
) -> Trainer<Decoder, Composite> {
    let training = TrainingConfig {
        steps: 20,
        learning_rate: 1e-2,
        ..TrainingConfig::default()
    };
    let student = model(student, seed, &Device::flex().autodiff());
    let objective = ObjectiveConfig::default()
        .build(
            &student.shape(),
            &teacher.shape(),
            Seed(1),
            &student.device(),
        )
        .unwrap();
    Trainer::new(student, teacher.clone(), objective, training).unwrap()
}

#[test]
fn every_student_learns_from_every_teacher() {
    for teacher in Architecture::ALL {
        let live: Arc<dyn Teacher> = Arc::new(LiveTeacher::new(model(teacher, 1, &Device::flex())));
        for student in Architecture::ALL {
            let mut trainer = trainer(student, &live, 2);
            let losses: Vec<f64> = (0..20)
                .map(|step| trainer.step(&[batch(step % 4)]).unwrap().loss)
                .collect();
            let (first, last) = (losses[0], losses[19]);
            assert!(
                last < 0.7 * first,
                "{student:?} of {teacher:?}: {first} to {last}"
            );
        }
    }
}

#[test]
fn two_students_of_one_teacher_do_not_disturb_each_other() {
    let live: Arc<dyn Teacher> = Arc::new(LiveTeacher::new(model(
        Architecture::Qwen3,
        1,
        &Device::flex(),
    )));
    let run = |trainer: &mut Trainer<Decoder, Composite>, step| {
        trainer.step(&[batch(step)]).unwrap().loss
    };
    let alone: Vec<Vec<f64>> = [Architecture::Llama, Architecture::Gpt2]
        .map(|student| {
            let mut trainer = trainer(student, &live, 5);
            (0..6).map(|step| run(&mut trainer, step)).collect()
        })
        .into();
    let mut llama = trainer(Architecture::Llama, &live, 5);
    let mut gpt2 = trainer(Architecture::Gpt2, &live, 5);
    for step in 0..6 {
        let at = step as usize;
        assert_eq!(run(&mut llama, step), alone[0][at]);
        assert_eq!(run(&mut gpt2, step), alone[1][at]);
    }
}
