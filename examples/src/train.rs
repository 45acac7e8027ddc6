use anyhow::Result;
use distily::core::{CausalLm, LanguageModel, Objective, Seed, TokenBatch};
use distily::data::TokenRows;
use distily::eval::perplexity;
use distily::{StepReport, Trainer, TrainingConfig};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// A progress bar of training: loss, tokens per second, time left.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    tokens: usize,
}

impl Progress {
    /// A bar of so many steps.
    pub fn new(steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        let style = "{bar:30} {pos}/{len}  {msg}  {eta} left";
        bar.set_style(
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self {
            bar,
            started: Instant::now(),
            tokens: 0,
        }
    }

    /// One step further.
    pub fn step(&mut self, report: &StepReport) {
        self.tokens += report.predictions;
        let speed = self.tokens as f64 / self.started.elapsed().as_secs_f64();
        self.bar
            .set_message(format!("loss {:.4}  {speed:.0} tokens/s", report.loss));
        self.bar.inc(1);
    }

    /// A line above the bar; where there is no terminal, a line of its own.
    pub fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            println!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// Ends the bar; returns how long it took.
    pub fn finish(self) -> Duration {
        self.bar.finish_and_clear();
        self.started.elapsed()
    }
}

/// Trains for as many steps as the configuration says, measuring the held-out rows now and then.
///
/// # Errors
///
/// What the trainer reports.
pub fn train<S: CausalLm + 'static, O: Objective>(
    trainer: &mut Trainer<S, O>,
    config: &TrainingConfig,
    rows: &TokenRows,
    held_out: &TokenRows,
) -> Result<Duration> {
    let held_out: Vec<TokenBatch> = held_out
        .in_order(config.batch_size)
        .collect::<Result<_, _>>()?;
    let mut batches =
        rows.batches(config.batch_size)
            .prefetched(Seed(config.seed), 0, config.accumulation);
    let mut progress = Progress::new(config.steps);
    for step in 1..=config.steps {
        let batches: Vec<TokenBatch> = batches
            .by_ref()
            .take(config.accumulation)
            .collect::<Result<_, _>>()?;
        let report = trainer.step(&batches)?;
        progress.step(&report);
        if let Some(gradients) = &report.gradients {
            progress.say(&format!("step {step}: gradients\n{gradients}"));
        }
        if config.evaluate_every > 0 && step.is_multiple_of(config.evaluate_every) {
            let student = trainer.student().valid();
            let measured = perplexity(&student, held_out.iter().cloned())?;
            progress.say(&format!(
                "step {step}: loss {:.4}, gradient norm {:.2}, held-out perplexity {:.3}",
                report.loss,
                report.gradient_norm,
                measured.perplexity()
            ));
        }
    }
    Ok(progress.finish())
}

/// How many tokens a second a model reads, without a graph.
pub(crate) fn reading_speed(model: &dyn LanguageModel, batch: &TokenBatch) -> Result<f64> {
    let [count, length] = batch.shape();
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let started = Instant::now();
            let outputs = model.forward(batch, &distily::core::Taps::logits())?;
            // Waits for devices that compute behind our back.
            drop(
                outputs
                    .logits
                    .map(|logits| logits.narrow(0, 0, 1).narrow(1, 0, 1).into_data()),
            );
            Ok(started.elapsed().as_secs_f64())
        })
        .collect::<Result<_>>()?;
    times.sort_by(f64::total_cmp);
    Ok((count * length) as f64 / times[2])
}
