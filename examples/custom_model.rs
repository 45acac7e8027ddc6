//! A model of your own as a student: an LSTM learns from the quickstart's transformer.
#![allow(clippy::print_stdout)]

use anyhow::Result;
use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Lstm, LstmConfig};
use burn::tensor::Device;
use distily::core::*;
use distily::data::{DocumentEncoder, Packing, TextTokenizer, TokenRows};
use distily::models::Decoder;
use distily::objectives::ObjectiveConfig;
use distily::{Trainer, TrainingConfig};
use distily_examples::{Stories, device, train};
use std::path::Path;
use std::sync::Arc;

/// Every field is a burn module, so all of it is trained; the head is the embedding.
#[derive(Module, Debug)]
struct Recurrent {
    embedding: Embedding,
    lstm: Lstm,
}

/// All that Distily asks of a model. An LSTM reads from left to right by nature; it does not keep
/// documents apart that share a row.
impl LanguageModel for Recurrent {
    fn shape(&self) -> ModelShape {
        let [vocabulary, width] = self.embedding.weight.dims();
        ModelShape {
            vocabulary,
            width,
            layers: 1,
            ..ModelShape::default()
        }
    }
    fn device(&self) -> Device {
        self.embedding.weight.device()
    }
    fn head(&self) -> Head {
        Head::by_vocabulary(self.embedding.weight.val())
    }
    fn forward(&self, batch: &TokenBatch, taps: &Taps) -> Result<Outputs, ForwardError> {
        self.shape().check(batch, taps)?;
        let embedded = self.embedding.forward(batch.ids(&self.device()));
        let (hidden, _) = self.lstm.forward(embedded, None);
        Ok(Outputs::new(hidden, &self.head(), taps))
    }
}

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("quickstart/teacher");
    let device = device();
    let teacher = Decoder::load(&folder, &device)?;
    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
    let stories: Vec<String> = Stories::new(Seed(4)).take(300).collect();
    let (held_out, stories) = stories.split_at(20);
    let encoder = DocumentEncoder {
        end_of_text: Some(0),
        ..DocumentEncoder::new(tokenizer)
    };
    let rows = |stories: &[String]| -> Result<TokenRows> {
        let tokens = encoder.tokens(stories)?;
        Ok(TokenRows::pack(tokens, Packing::Wrapped, 96)?)
    };
    let (stories, held_out) = (rows(stories)?, rows(held_out)?);

    let autodiff = device.autodiff();
    let student = Recurrent {
        embedding: EmbeddingConfig::new(teacher.shape().vocabulary, 64).init(&autodiff),
        lstm: LstmConfig::new(64, 64, true).init(&autodiff),
    };
    let config = TrainingConfig {
        steps: 20,
        learning_rate: 3e-3,
        evaluate_every: 10,
        ..Default::default()
    };
    let objective = ObjectiveConfig::default().build(
        &student.shape(),
        &teacher.shape(),
        Seed(1),
        &student.device(),
    )?;
    let teacher = Arc::new(LiveTeacher::new(teacher));
    let mut trainer = Trainer::new(student, teacher, objective, config.clone())?;
    train(&mut trainer, &config, &stories, &held_out)?;
    println!("{}", trainer.into_student());
    Ok(())
}
