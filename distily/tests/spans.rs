//! The phases of a step are spans of whoever listens to its caller, although it runs on another thread.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use distily::core::{LanguageModel, LiveTeacher, Seed, TokenBatch};
use distily::models::{Decoder, DecoderConfig};
use distily::objectives::ObjectiveConfig;
use distily::{Trainer, TrainingConfig};
use std::sync::{Arc, Mutex};
use tracing::span::{Attributes, Id};
use tracing::{Subscriber, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Every span, below those around it.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let scope = context.span(id).unwrap().scope().from_root();
        let names: Vec<&str> = scope.map(|span| span.name()).collect();
        self.0.lock().unwrap().push(names.join("/"));
    }
}

#[test]
fn a_step_says_its_phases_to_its_caller() {
    let config = DecoderConfig {
        vocabulary: 20,
        width: 8,
        layers: 1,
        heads: 2,
        kv_heads: 2,
        head_width: 4,
        feed_forward_width: 8,
        ..DecoderConfig::default()
    };
    let device = Device::flex();
    let teacher = Decoder::random(&config, Seed(1), &device).unwrap();
    let student = Decoder::random(&config, Seed(2), &device.autodiff()).unwrap();
    let objective = ObjectiveConfig::default()
        .build(
            &student.shape(),
            &teacher.shape(),
            Seed(3),
            &student.device(),
        )
        .unwrap();
    let teacher = Arc::new(LiveTeacher::new(teacher));
    let mut trainer = Trainer::new(student, teacher, objective, TrainingConfig::default()).unwrap();

    let spans = Spans::default();
    // Of this thread alone.
    let _listens = tracing_subscriber::registry()
        .with(spans.clone())
        .set_default();
    let _epoch = info_span!("epoch").entered();
    let batch = TokenBatch::new(vec![1, 2, 3, 4], [1, 4]).unwrap();
    trainer.step(&[batch]).unwrap();
    let spans = spans.0.lock().unwrap();
    for phase in ["teacher", "student", "backward", "optimizer"] {
        assert!(spans.contains(&format!("epoch/{phase}")), "{spans:?}");
    }
}
