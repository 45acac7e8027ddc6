//! Distils a small teacher that comes with the repository into a student with half its layers.
//! Nothing is downloaded.
//!
//! ```sh
//! cargo run --release --example quickstart
//! ```
#![allow(clippy::print_stdout)]

use anyhow::Result;
use clap::Parser;
use distily::core::{LanguageModel, LiveTeacher, Seed};
use distily::data::{DocumentEncoder, Packing, TextTokenizer, TokenRows};
use distily::eval::{GenerationConfig, generate};
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, Inheritance, StoredAs, StudentConfig};
use distily::objectives::ObjectiveConfig;
use distily::{Schedule, Trainer, TrainingConfig};
use distily_examples::{Stories, compare, device, measure, train};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

/// Distils the quickstart's teacher into a student with half its layers.
#[derive(Parser)]
struct Arguments {
    /// Optimizer steps.
    #[arg(long, default_value_t = 240)]
    steps: usize,
    /// Where the student goes, as a Hugging Face folder.
    #[arg(long, default_value = "runs/quickstart")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let device = device();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("quickstart/teacher");
    let teacher = Decoder::load(&folder, &device)?;
    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;

    // Stories that the teacher never saw: another seed.
    let stories: Vec<String> = Stories::new(Seed(2)).take(4_100).collect();
    let (held_out, stories) = stories.split_at(100);
    let encoder = DocumentEncoder {
        end_of_text: Some(0),
        ..DocumentEncoder::new(tokenizer.clone())
    };
    let rows = |stories: &[String]| -> Result<TokenRows> {
        let tokens = encoder.tokens(stories)?;
        Ok(TokenRows::pack(tokens, Packing::Wrapped, 192)?)
    };
    let (train_rows, held_out_rows) = (rows(stories)?, rows(held_out)?);

    // Half the layers; every other block is the teacher's to begin with.
    let half = StudentConfig {
        layers: Some(3),
        ..StudentConfig::default()
    };
    let student = Decoder::student(
        &half.of(teacher.config())?,
        &teacher,
        &Inheritance::with_blocks([0, 2, 5]),
        Seed(3),
        &device.clone().autodiff(),
    )?;
    let before = measure(
        &burn::module::Module::valid(&student),
        Some(&teacher),
        &held_out_rows,
    )?;

    let config = TrainingConfig {
        steps: arguments.steps,
        batch_size: 10,
        learning_rate: 2e-3,
        final_learning_rate: Some(1e-4),
        schedule: Schedule::Cosine,
        evaluate_every: 80,
        ..TrainingConfig::default()
    };
    println!("Distilling 6 layers into 3, {} steps:", config.steps);
    let objective = ObjectiveConfig::default().build(
        &student.shape(),
        &teacher.shape(),
        Seed(1),
        &student.device(),
    )?;
    let mut trainer = Trainer::new(
        student,
        Arc::new(LiveTeacher::new(teacher.clone())),
        objective,
        config.clone(),
    )?;
    let took = train(&mut trainer, &config, &train_rows, &held_out_rows)?;
    let student = trainer.into_student();
    student.save(&arguments.out, StoredAs::BF16)?;
    std::fs::copy(
        folder.join("tokenizer.json"),
        arguments.out.join("tokenizer.json"),
    )?;

    let size = |folder: &Path| std::fs::metadata(folder.join("model.safetensors")).map(|m| m.len());
    let teacher_measured = measure(&teacher, None::<&Decoder>, &held_out_rows)?;
    let after = measure(&student, Some(&teacher), &held_out_rows)?;
    let beginnings: Vec<String> = held_out[..3]
        .iter()
        .map(|story| story.split(' ').take(24).collect::<Vec<_>>().join(" "))
        .collect();
    let prompts = tokenizer.encode(&beginnings)?;
    let config = GenerationConfig {
        tokens: 60,
        end_of_text: vec![0],
        ..GenerationConfig::default()
    };
    let endings = |model: &Decoder| generate(model, &tokenizer, &prompts, &config);
    let texts = endings(&teacher)?.into_iter().zip(endings(&student)?);
    for (beginning, (teacher, student)) in beginnings.iter().zip(texts) {
        println!("\n{beginning} ...");
        println!("  teacher: ...{}", teacher.text);
        println!("  student: ...{}", student.text);
    }
    println!(
        "\n{}\nTrained in {:.0} s. The student is in {}",
        compare(
            Some((&teacher_measured, size(&folder)?)),
            &before,
            (&after, size(&arguments.out)?),
        ),
        took.as_secs_f64(),
        arguments.out.display()
    );
    Ok(())
}
