use crate::{forget_peak, memory};
use burn::tensor::Device;
use distily::core::{LanguageModel, LiveTeacher, Seed, TokenBatch};
use distily::models::{Decoder, Precision, StudentConfig};
use distily::objectives::ObjectiveConfig;
use distily::{OptimizerConfig, Schedule, Trainer, TrainingConfig};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// Training steps to be measured: a student of random weights, with the shape of its teacher but half
/// the layers, learns the teacher's logits and hidden states.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The teacher's folder.
    pub teacher: PathBuf,
    /// What the teacher's weights are kept as.
    pub precision: Precision,
    /// Rows in a batch.
    pub rows: usize,
    /// Tokens in a row.
    pub length: usize,
    /// Batches in a step.
    pub accumulation: usize,
    /// What is computed again in the backward pass instead of being kept.
    pub recomputed: Recomputed,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// Of how many of the student's layers, the last ones, the hidden states are compared.
    pub tapped: usize,
    /// Steps that count.
    pub steps: usize,
}

/// What a backward pass computes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recomputed {
    /// Nothing.
    Nothing,
    /// What burn calls cheap: results of element-wise operations.
    Operations,
    /// Every so manieth block of the student.
    Blocks(usize),
}

/// What a step costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The median of the steps.
    pub seconds: f64,
    /// The most memory that the process held, in bytes, both models loaded.
    pub peak: u64,
    /// Tokens in a step.
    pub tokens: usize,
}

impl Training {
    /// What [`cost`](Self::cost) asks this process to measure; `None` if it is the one that asks.
    pub fn asked_for() -> Option<Self> {
        let argument = std::env::args().nth(1)?;
        serde_json::from_str(&argument).ok()
    }

    /// What a step costs on this many threads, each figure from a process of its own that runs the same
    /// program: in the one of the memory, the allocator gives back at once what is freed, so that the
    /// peak is what was needed at a time. There [`asked_for`](Self::asked_for) says what to measure,
    /// and the program prints what [`measured`](Self::measured) returns, as JSON.
    ///
    /// # Errors
    ///
    /// Whatever keeps a process from saying a cost.
    pub fn cost(&self, threads: usize) -> Result<Cost, Box<dyn Error>> {
        let once = Self {
            steps: 1,
            ..self.clone()
        };
        let of_memory = once.run(threads, &[("MIMALLOC_PURGE_DELAY", "0")])?;
        Ok(Cost {
            peak: of_memory.peak,
            ..self.run(threads, &[])?
        })
    }

    fn run(&self, threads: usize, variables: &[(&str, &str)]) -> Result<Cost, Box<dyn Error>> {
        let output = Command::new(std::env::current_exe()?)
            .arg(serde_json::to_string(self)?)
            .env("RAYON_NUM_THREADS", threads.to_string())
            .envs(variables.iter().copied())
            .output()?;
        if !output.status.success() {
            let problem = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{self:?}: {problem}").into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Takes the steps, after one that does not count.
    ///
    /// # Errors
    ///
    /// If the teacher can't be loaded, or the settings do not fit it.
    pub fn measured(&self) -> Result<Cost, Box<dyn Error>> {
        let device = Device::default();
        let teacher = Decoder::load_frozen(&self.teacher, self.precision, &device)?;
        let half = StudentConfig {
            layers: Some(teacher.config().layers / 2),
            ..StudentConfig::default()
        };
        let graph = match self.recomputed {
            Recomputed::Operations => device.autodiff().gradient_checkpointing(),
            Recomputed::Nothing | Recomputed::Blocks(_) => device.autodiff(),
        };
        let mut student = Decoder::random(&half.of(teacher.config())?, Seed(1), &graph)?;
        if let Recomputed::Blocks(every) = self.recomputed {
            let blocks = (0..student.shape().layers).step_by(every);
            student = student.with_gradient_checkpointing(blocks)?;
        }
        let (shape, layers) = (student.shape(), student.shape().layers);
        let objective = self
            .objective(layers)?
            .build(&shape, &teacher.shape(), Seed(0), &graph)?;
        let config = TrainingConfig {
            schedule: Schedule::Constant,
            warmup: 0.0,
            optimizer: self.optimizer,
            ..TrainingConfig::default()
        };
        let teacher = Arc::new(LiveTeacher::new(teacher));
        let mut trainer = Trainer::new(student, teacher, objective, config)?;
        forget_peak()?;
        let mut seconds = Vec::new();
        for step in 0..=self.steps {
            let batches = (0..self.accumulation)
                .map(|batch| self.batch(step * self.accumulation + batch, shape.vocabulary))
                .collect::<Result<Vec<_>, _>>()?;
            let start = Instant::now();
            trainer.step(&batches)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.remove(0);
        seconds.sort_by(f64::total_cmp);
        Ok(Cost {
            seconds: seconds[seconds.len() / 2],
            peak: memory("VmHWM")?,
            tokens: self.accumulation * self.rows * self.length,
        })
    }

    /// The teacher's forward KL, and the hidden states of every second of its layers.
    fn objective(&self, layers: usize) -> Result<ObjectiveConfig, serde_json::Error> {
        let mut terms = vec![json!({ "loss": "forward_kl" })];
        if self.tapped > 0 {
            let pairs = (layers - self.tapped..layers).map(|layer| [layer, 2 * layer + 1]);
            let pairs: Vec<[usize; 2]> = pairs.collect();
            let layers = json!({ "explicit": { "pairs": pairs } });
            terms.push(json!({ "loss": "hidden_mse", "layers": layers }));
        }
        serde_json::from_value(json!({ "terms": terms }))
    }

    /// Tokens without meaning.
    fn batch(&self, number: usize, vocabulary: usize) -> Result<TokenBatch, Box<dyn Error>> {
        let id = |at: usize| ((7919 * at + 104_729 * number) % vocabulary) as u32;
        let ids: Vec<u32> = (0..self.rows * self.length).map(id).collect();
        Ok(TokenBatch::new(ids, [self.rows, self.length])?)
    }
}
