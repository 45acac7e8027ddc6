//! A training loop of your own, without the `distily` crate: the same teacher, student, objective
//! and measurements, with burn's optimizer between them.
#![allow(clippy::print_stdout)]

use anyhow::Result;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams};
use distily_core::{Comparison, LanguageModel, LiveTeacher, Objective, Seed, Teacher, TokenBatch};
use distily_data::{DocumentEncoder, Packing, TextTokenizer, TokenRows};
use distily_eval::perplexity;
use distily_examples::{Stories, device};
use distily_kernels::on_pool;
use distily_layermap::LayerMapConfig;
use distily_models::{Decoder, Inheritance, StudentConfig};
use distily_objectives::{LossConfig, ObjectiveConfig, TermConfig};
use std::path::Path;

/// What one optimizer sees: burn updates every parameter in it.
#[derive(Module, Debug)]
struct Trainee<S: Module, O: Module> {
    student: S,
    objective: O,
}

fn main() -> Result<()> {
    let device = device();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("quickstart/teacher");
    let teacher = Decoder::load(&folder, &device)?;
    let half = StudentConfig {
        layers: Some(3),
        ..StudentConfig::default()
    };
    let student = Decoder::student(
        &half.of(teacher.config())?,
        &teacher,
        &Inheritance::with_blocks([1, 3, 5]),
        Seed(1),
        &device.clone().autodiff(),
    )?;

    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
    let stories: Vec<String> = Stories::new(Seed(2)).take(600).collect();
    let (held_out, stories) = stories.split_at(30);
    let encoder = DocumentEncoder {
        end_of_text: Some(0),
        ..DocumentEncoder::new(tokenizer)
    };
    let rows = TokenRows::pack(encoder.tokens(stories)?, Packing::Wrapped, 96)?;
    let held_out = TokenRows::pack(encoder.tokens(held_out)?, Packing::Wrapped, 96)?;
    let held_out: Vec<TokenBatch> = held_out.in_order(8).collect::<Result<_, _>>()?;

    let values = TermConfig {
        layers: Some(LayerMapConfig::Last),
        weight: 0.1.into(),
        ..TermConfig::new(LossConfig::RelationKl {
            heads: None,
            of: vec![distily_objectives::Relation::Value],
        })
    };
    let objective = ObjectiveConfig {
        terms: vec![TermConfig::new(LossConfig::ForwardKl), values],
    };
    let objective = objective.build(
        &student.shape(),
        &teacher.shape(),
        Seed(3),
        &student.device(),
    )?;
    let taps = objective.taps(&student.shape(), &teacher.shape())?;

    let teacher = LiveTeacher::new(teacher);
    let mut trainee = Trainee { student, objective };
    let mut optimizer = AdamWConfig::new().init();
    let mut batches = rows.batches(4).after(Seed(4), 0);
    for step in 0..60 {
        // Two batches make a step; every mean is over the tokens of both.
        let batches = batches.by_ref().take(2);
        let batches: Vec<TokenBatch> = batches.collect::<Result<_, _>>()?;
        let predictions = batches.iter().map(TokenBatch::predictions).sum();
        let rate = 1e-3 * (1.0 - step as f64 / 60.0);
        // A CPU's cores take up the many small operations of a step faster from one of their own.
        let (stepped, loss) = on_pool(&device, || -> Result<_> {
            let mut gradients = GradientsAccumulator::new();
            let mut loss = 0.0;
            for batch in &batches {
                let answer = teacher.answer(batch, &taps.1)?;
                let outputs = trainee.student.forward(batch, &taps.0)?;
                let losses = trainee.objective.evaluate(&Comparison {
                    student: &outputs,
                    head: &trainee.student.head(),
                    teacher: &answer,
                    batch,
                    predictions,
                    step,
                })?;
                loss += losses.total.clone().into_scalar::<f32>();
                let of_batch = GradientsParams::from_grads(losses.total.backward(), &trainee);
                gradients.accumulate(&trainee, of_batch);
            }
            Ok((optimizer.step(rate, trainee, gradients.grads()), loss))
        })?;
        trainee = stepped;
        if (step + 1) % 20 == 0 {
            let measured = perplexity(&trainee.student.valid(), held_out.clone())?;
            println!(
                "step {:2}: loss {loss:.4}, held-out perplexity {:.3}",
                step + 1,
                measured.perplexity()
            );
        }
    }
    Ok(())
}
