//! Compares the codecs of recordings: what they weigh, what comes back of a teacher, and what a
//! student learns of it in place of the teacher. Prints `docs/results/codecs.md`.
//!
//! ```sh
//! cargo run --release -p distily-benches --example codecs -- TEACHER TRAIN HELD_OUT FOLDER [STEPS] [ROWS] [RATE]
//! ```
//!
//! TEACHER is a Hugging Face folder, TRAIN and HELD_OUT are texts, of which the first ROWS and a
//! quarter of ROWS rows are taken; RATE is the students' peak learning rate. Recordings go to FOLDER, for
//! each token 2 bytes for each id of the vocabulary, and are removed again.
#![allow(clippy::print_stdout, unreachable_pub)]

mod fidelity;
mod nudged;
mod renormalised;

use burn::module::Module;
use burn::tensor::Device;
use distily::core::{LanguageModel, LiveTeacher, Seed, Teacher, TokenBatch};
use distily::data::{
    Codec, ContentHash, DocumentEncoder, Packing, Provenance, Recorder, Recording, RecordingConfig,
    TextTokenizer, TokenRows,
};
use distily::eval::{agreement, perplexity};
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, Inheritance, StudentConfig};
use distily::objectives::{Composite, ObjectiveConfig};
use distily::{Trainer, TrainingConfig};
use distily_benches::held_out_value;
use fidelity::{Fidelity, top_mass};
use nudged::Nudged;
use renormalised::Renormalised;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

const LENGTH: usize = 128;
const BATCH: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, train, held_out, folder, numbers @ ..] = arguments.as_slice() else {
        return Err("see the head of this file for the arguments".into());
    };
    let number = |at: usize, default: usize| numbers.get(at).map_or(Ok(default), |n| n.parse());
    let (steps, rows) = (number(0, 100)?, number(1, 128)?);
    let rate = numbers.get(2).map_or(Ok(3e-4), |rate| rate.parse())?;
    let device = Device::flex();
    let bench = Bench::new(Path::new(model), [train, held_out], rows, &device)?;
    println!("# Codecs of recordings\n\n```sh");
    println!(
        "cargo run --release -p distily-benches --example codecs -- TEACHER TRAIN HELD_OUT FOLDER {steps} {rows} {rate:e}\n```\n"
    );
    println!(
        "Rows of {LENGTH} tokens, {rows} of them to train on and {} held out. The teacher's 12 likeliest ids hold {:.4} of its mass on the\nheld-out text, as a mean over {} predictions.\n",
        bench.held_out_rows.len(),
        top_mass(&*bench.teacher, &bench.held_out, 12)?,
        bench
            .held_out
            .iter()
            .map(TokenBatch::predictions)
            .sum::<usize>(),
    );
    let folder = tempfile::tempdir_in(folder)?;
    let recorded = bench.record(folder.path())?;
    bench.compare_codecs(&recorded)?;
    bench.compare_students(&recorded, steps, rate)?;
    Ok(())
}

/// What all codecs are measured with.
struct Bench {
    hashes: [ContentHash; 2],
    teacher: Arc<LiveTeacher<Decoder>>,
    /// Off the graph, to be compared with.
    model: Decoder,
    student: Decoder,
    rows: TokenRows,
    held_out_rows: TokenRows,
    held_out: Vec<TokenBatch>,
}

/// A codec's recordings.
struct Recorded {
    name: &'static str,
    bytes_per_token: f64,
    train: Arc<dyn Teacher>,
    held_out: Arc<dyn Teacher>,
}

fn codecs() -> [(&'static str, Codec); 4] {
    let top = |k| Codec::TopK { k, p: 1.0 };
    let sampled = Codec::Sampled {
        draws: 12,
        seed: Seed(5),
    };
    [
        ("full, f16", Codec::Full),
        ("12 drawn ids", sampled),
        ("top 12, tail", top(12)),
        ("top 64, tail", top(64)),
    ]
}

/// What is made of the recording of the 12 likeliest ids.
const RENORMALISED: &str = "top 12, renormalised";

impl Bench {
    fn new(
        folder: &Path,
        texts: [&String; 2],
        rows: usize,
        device: &Device,
    ) -> Result<Self, Box<dyn Error>> {
        let model = Decoder::load(folder, device)?;
        let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
        let weights = ContentHash::of_files(&[folder.join("model.safetensors")])?;
        let hashes = [weights, tokenizer.hash()];
        let encoder = DocumentEncoder::new(tokenizer);
        let pack = |file: &String, rows: usize| -> Result<TokenRows, Box<dyn Error>> {
            let text = std::fs::read_to_string(file)?;
            let tokens = encoder.tokens([text].as_slice())?;
            Ok(TokenRows::pack(tokens, Packing::Wrapped, LENGTH)?.limited_to(rows * LENGTH))
        };
        let held_out_rows = pack(texts[1], rows / 4)?;
        let layers: Vec<usize> = (0..model.shape().layers).step_by(2).collect();
        let shape = StudentConfig {
            layers: Some(layers.len()),
            ..StudentConfig::default()
        };
        let student = Decoder::student(
            &shape.of(model.config())?,
            &model,
            &Inheritance::with_blocks(layers),
            Seed(1),
            &device.clone().autodiff(),
        )?;
        Ok(Self {
            hashes,
            teacher: Arc::new(LiveTeacher::new(model.clone())),
            model,
            student,
            rows: pack(texts[0], rows)?,
            held_out: held_out_rows.in_order(BATCH).collect::<Result<_, _>>()?,
            held_out_rows,
        })
    }

    fn record(&self, folder: &Path) -> Result<Vec<Recorded>, Box<dyn Error>> {
        let mut all = Vec::new();
        for (name, codec) in codecs() {
            let record = |rows: &TokenRows| -> Result<_, Box<dyn Error>> {
                let folder =
                    folder.join(ContentHash::of(name, [rows.key().as_bytes()]).to_string());
                let [teacher, tokenizer] = self.hashes;
                let config = RecordingConfig {
                    provenance: Provenance {
                        teacher,
                        tokenizer,
                        data: rows.key(),
                        temperature: 1.0,
                    },
                    shape: self.teacher.shape(),
                    codec: codec.clone(),
                    hidden_layers: vec![],
                };
                Recorder::open(&folder, config.clone())?.record(&*self.teacher, rows, BATCH)?;
                let recording = Recording::open(&folder, &config.provenance, &Device::flex())?;
                Ok((folder, Arc::new(recording) as Arc<dyn Teacher>))
            };
            let (folder, train) = record(&self.rows)?;
            let (_, held_out) = record(&self.held_out_rows)?;
            all.push(Recorded {
                name,
                bytes_per_token: bytes_in(&folder)? / (self.rows.len() * LENGTH) as f64,
                train,
                held_out,
            });
        }
        let top = &all[2];
        all.push(Recorded {
            name: RENORMALISED,
            bytes_per_token: top.bytes_per_token,
            train: Arc::new(Renormalised(top.train.clone())),
            held_out: Arc::new(Renormalised(top.held_out.clone())),
        });
        Ok(all)
    }

    fn compare_codecs(&self, recorded: &[Recorded]) -> Result<(), Box<dyn Error>> {
        println!("## What comes back\n");
        println!(
            "| codec | bytes per token | ids of a token | own loss, nats | mass without a probability | KL(teacher ‖ codec), nats |"
        );
        println!("|---|---|---|---|---|---|");
        for codec in recorded {
            let measured = Fidelity::of(&*self.teacher, &*codec.held_out, &self.held_out)?;
            println!(
                "| {} | {:.1} | {:.1} | {:.1e} | {:.4} | {:.1e} |",
                codec.name,
                codec.bytes_per_token,
                measured.ids,
                measured.own_loss,
                measured.lost,
                measured.kl,
            );
        }
        println!(
            "
All columns but the first are means over the held-out predictions, of recordings of them, compared with the live teacher's
probabilities. **Own loss** is what the forward KL from the recording says of a student that is the teacher itself: Σ q log(q / p) over the
ids that come back with a probability q, where the teacher has p, and the others together as one event where there is a tail. A student that follows the
recording leaves the teacher where this is above 0, unless the mean over draws is meant, as it is for drawn ids: the mean of their gradients is that of the full KL.
**KL(teacher ‖ codec)** shares a tail out evenly among its ids; it is infinite where ids that the teacher may say come back with no
probability, whose mass is the column before it (at a token: masses below 1e-6, which the f16 of a tail can't tell from 0, are left out). What is 1e-5 and less
is the rounding of f16.
"
        );
        Ok(())
    }

    fn compare_students(
        &self,
        recorded: &[Recorded],
        steps: usize,
        rate: f64,
    ) -> Result<(), Box<dyn Error>> {
        println!("## Is the live teacher followed\n\n{COLUMNS}");
        let live: Arc<dyn Teacher> = self.teacher.clone();
        let nudged: Arc<dyn Teacher> = Arc::new(Nudged(live.clone()));
        let [full, others @ ..] = recorded else {
            return Err("a codec is missing".into());
        };
        // In turns, so that what else the machine does slows all alike.
        let teachers = [live, full.train.clone(), nudged];
        let [live, of_full, nudged] = self.train(teachers, steps, rate)?;
        live.print("live");
        nudged.print("live, nudged");
        of_full.print(full.name);
        println!(
            "
The student has every second block of its teacher, with its embedding and norm, and learns by forward KL alone, in the form that fits what is known. Every
run is {steps} steps of {BATCH} rows, the same batches from the same weights: AdamW, peak learning rate {rate:e}. KL and agreement are those with the live
teacher. Before, the KL is {:.3}. These three were trained in turns, step by step; the median step with the full recording takes {:.2} of that with the
live teacher.

The losses of the full recording and of the live teacher are {}. **Nudged** is the live teacher with many of its last hidden states
changed in their last bit (multiplied by 1.1 and divided by it): its losses and the live teacher's are {}. Training makes that much of a
difference in rounding alone, so no recording can follow more closely.
",
            self.held_out_kl(&self.student.valid())?,
            of_full.median() / live.median(),
            of_full.apart_from(&live),
            nudged.apart_from(&live),
        );
        println!("## What is learnt of the others\n\n{COLUMNS}");
        for codec in others {
            let [run] = self.train([codec.train.clone()], steps, rate)?;
            run.print(codec.name);
        }
        Ok(())
    }

    fn objective(&self) -> Result<Composite, Box<dyn Error>> {
        let config: ObjectiveConfig = toml::from_str(r#"terms = [{ loss = "forward_kl" }]"#)?;
        let shape = self.student.shape();
        let device = self.student.device();
        Ok(config.build(&shape, &self.teacher.shape(), Seed(2), &device)?)
    }

    /// The KL of a student to the live teacher on the held-out rows.
    fn held_out_kl(&self, student: &Decoder) -> Result<f64, Box<dyn Error>> {
        let objective = self.objective()?.valid();
        held_out_value(&objective, student, &*self.teacher, &self.held_out)
    }

    /// A student of each teacher, in turns, step by step.
    fn train<const N: usize>(
        &self,
        teachers: [Arc<dyn Teacher>; N],
        steps: usize,
        learning_rate: f64,
    ) -> Result<[Run; N], Box<dyn Error>> {
        let training = TrainingConfig {
            steps,
            batch_size: BATCH,
            learning_rate,
            ..TrainingConfig::default()
        };
        let trainer = |teacher: Arc<dyn Teacher>| -> Result<_, Box<dyn Error>> {
            let (student, objective) = (self.student.clone(), self.objective()?);
            Ok(Trainer::new(student, teacher, objective, training.clone())?)
        };
        let mut trainers: Vec<_> = teachers
            .into_iter()
            .map(trainer)
            .collect::<Result<_, _>>()?;
        let mut runs = [(); N].map(|()| Run::default());
        for batch in self.rows.batches(BATCH).after(Seed(4), 0).take(steps) {
            let batch = batch?;
            for (trainer, run) in trainers.iter_mut().zip(&mut runs) {
                let start = Instant::now();
                run.losses
                    .push(trainer.step(std::slice::from_ref(&batch))?.loss);
                run.times.push(start.elapsed().as_secs_f64());
            }
        }
        for (trainer, run) in trainers.iter().zip(&mut runs) {
            let student = trainer.student().valid();
            let held_out = || self.held_out.iter().cloned();
            run.times.sort_by(f64::total_cmp);
            run.kl = self.held_out_kl(&student)?;
            run.perplexity = perplexity(&student, held_out())?.perplexity();
            run.agreement = agreement(&student, &self.model, held_out())?.share();
        }
        Ok(runs)
    }
}

const COLUMNS: &str = "\
| teacher | held-out KL, nats | held-out perplexity | top-1 agreement, % | last loss | median step, s |
|---|---|---|---|---|---|";

/// A student's training, and what came out.
#[derive(Default)]
struct Run {
    losses: Vec<f64>,
    /// Of each step, from the fastest on.
    times: Vec<f64>,
    kl: f64,
    perplexity: f64,
    agreement: f64,
}

impl Run {
    /// How far the losses of two runs are from each other.
    fn apart_from(&self, other: &Self) -> String {
        let pairs = self.losses.iter().zip(&other.losses);
        let apart: Vec<f64> = pairs.map(|(one, other)| (one - other).abs()).collect();
        let most = |of: &[f64]| of.iter().copied().fold(0.0, f64::max);
        format!(
            "{:.1e} apart at most in the first half of the steps, {:.1e} in the second, and {:.1e} in the mean of all",
            most(&apart[..apart.len() / 2]),
            most(&apart[apart.len() / 2..]),
            apart.iter().sum::<f64>() / apart.len() as f64,
        )
    }

    fn median(&self) -> f64 {
        self.times[self.times.len() / 2]
    }

    fn print(&self, teacher: &str) {
        println!(
            "| {teacher} | {:.4} | {:.2} | {:.2} | {:.4} | {:.2} |",
            self.kl,
            self.perplexity,
            100.0 * self.agreement,
            self.losses.last().copied().unwrap_or(f64::NAN),
            self.median(),
        );
    }
}

fn bytes_in(folder: &Path) -> Result<f64, Box<dyn Error>> {
    let mut bytes = 0;
    for file in std::fs::read_dir(folder)? {
        bytes += file?.metadata()?.len();
    }
    Ok(bytes as f64)
}
