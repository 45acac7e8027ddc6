//! A student learns from a recording as from the teacher that was recorded.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use distily::core::{LanguageModel, LiveTeacher, Seed, Teacher};
use distily::data::{
    Codec, ContentHash, Packing, Provenance, Recorder, Recording, RecordingConfig, TokenRows,
    Tokens,
};
use distily::models::{Decoder, DecoderConfig};
use distily::objectives::ObjectiveConfig;
use distily::{Trainer, TrainingConfig};
use std::path::Path;
use std::sync::Arc;

const STEPS: usize = 100;

fn decoder(seed: u64, layers: usize, device: &Device) -> Decoder {
    let config = DecoderConfig {
        vocabulary: 40,
        width: 24,
        layers,
        heads: 2,
        kv_heads: 1,
        head_width: 12,
        feed_forward_width: 32,
        positions: 64,
        initializer_range: 0.2,
        ..DecoderConfig::default()
    };
    Decoder::random(&config, Seed(seed), device).unwrap()
}

fn teacher() -> LiveTeacher<Decoder> {
    LiveTeacher::new(decoder(1, 4, &Device::flex()))
}

/// Documents of unequal length, packed: rows have several segments and padding.
fn rows() -> TokenRows {
    let documents: Vec<Vec<u32>> = (0..30u32)
        .map(|d| (0..5 + d % 17).map(|t| (d * 7 + t * t * 3) % 40).collect())
        .collect();
    TokenRows::pack(Tokens::new(&documents).unwrap(), Packing::BestFit, 16).unwrap()
}

fn record(folder: &Path, codec: Codec) -> Recording {
    let hash = |what: &str| ContentHash::of("test", [what]);
    let config = RecordingConfig {
        provenance: Provenance {
            teacher: hash("teacher"),
            tokenizer: hash("tokenizer"),
            data: rows().key(),
            temperature: 1.0,
        },
        shape: teacher().shape(),
        codec,
        hidden_layers: vec![],
    };
    let mut recorder = Recorder::open(folder, config.clone()).unwrap();
    recorder.record(&teacher(), &rows(), 4).unwrap();
    Recording::open(folder, &config.provenance, &Device::flex()).unwrap()
}

fn losses(teacher: Arc<dyn Teacher>) -> Vec<f64> {
    let device = Device::flex().autodiff();
    let student = decoder(2, 2, &device);
    let config = r#"{ "terms": [
        { "loss": "forward_kl", "weight": 0.8 }, { "loss": "cross_entropy", "weight": 0.2 }
    ] }"#;
    let config: ObjectiveConfig = serde_json::from_str(config).unwrap();
    let objective = config.build(&student.shape(), &teacher.shape(), Seed(3), &device);
    let training = TrainingConfig {
        steps: STEPS,
        learning_rate: 3e-3,
        batch_size: 4,
        ..TrainingConfig::default()
    };
    let mut trainer = Trainer::new(student, teacher, objective.unwrap(), training).unwrap();
    let batches = rows().batches(4).after(Seed(5), 0).take(STEPS);
    batches
        .map(|batch| trainer.step(&[batch.unwrap()]).unwrap().loss)
        .collect()
}

#[test]
fn a_student_of_a_recording_follows_that_of_the_live_teacher() {
    let live = losses(Arc::new(teacher()));
    assert!(live[STEPS - 1] < 0.8 * live[0], "{live:?}");
    // All ids that are known are the whole distribution too.
    for codec in [Codec::Full, Codec::TopK { k: 40, p: 1.0 }] {
        let folder = tempfile::tempdir().unwrap();
        let recorded = losses(Arc::new(record(folder.path(), codec)));
        let apart = live.iter().zip(&recorded).map(|(a, b)| (a - b).abs());
        let apart = apart.fold(0.0, f64::max);
        assert!(apart < 1e-3, "{apart}");
    }
}
