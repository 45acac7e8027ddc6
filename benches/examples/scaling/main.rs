//! How a training step's time and memory grow with the length of the rows, the rows of a batch, the
//! vocabulary and the tapped layers, on one thread and on two: a page with tables and plots.
//!
//! ```sh
//! cargo build --release --workspace --examples
//! target/release/examples/scaling docs/results
//! target/release/examples/scaling /tmp 1     # a step each, up to 256 tokens, 4 rows, 16k, to try it out
//! ```
#![allow(clippy::print_stdout)]

mod page;
mod plot;

use burn::tensor::Device;
use distily::OptimizerConfig;
use distily::core::Seed;
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, DecoderConfig, Precision, StoredAs};
use distily_benches::{Cost, Recomputed, Training};
use std::error::Error;
use std::path::{Path, PathBuf};

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

/// How many threads each step is taken on.
const THREADS: [usize; 2] = [1, 2];
const STEPS: usize = 5;
const LENGTH: usize = 256;
const ROWS: usize = 2;
const VOCABULARY: usize = 8_192;
/// Of the teacher; the student has half of them.
const LAYERS: usize = 16;
const WIDTH: usize = 192;

/// What is varied.
struct Axis {
    name: &'static str,
    file: &'static str,
    values: &'static [usize],
    set: fn(&mut Training, usize),
}

const AXES: [Axis; 4] = [
    Axis {
        name: "tokens in a row",
        file: "length",
        values: &[64, 128, 256, 512, 1024, 2048],
        set: |training, length| training.length = length,
    },
    Axis {
        name: "rows in a batch",
        file: "rows",
        values: &[1, 2, 4, 8, 16],
        set: |training, rows| training.rows = rows,
    },
    Axis {
        name: "vocabulary",
        file: "vocabulary",
        values: &[4_096, 8_192, 16_384, 32_768, 65_536, 150_000],
        set: |training, vocabulary| training.teacher.set_file_name(vocabulary.to_string()),
    },
    Axis {
        name: "tapped layers",
        file: "taps",
        values: &[0, 1, 2, 4, 8],
        set: |training, tapped| training.tapped = tapped,
    },
];

/// An axis, measured.
struct Measured {
    axis: &'static Axis,
    values: Vec<usize>,
    /// Of each value, for each number of threads.
    costs: [Vec<Cost>; THREADS.len()],
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(training) = Training::asked_for() {
        println!("{}", serde_json::to_string(&training.measured()?)?);
        return Ok(());
    }
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("FOLDER is missing")?);
    let steps: Option<usize> = arguments.next().map(|steps| steps.parse()).transpose()?;
    let teachers = tempfile::tempdir()?;
    let mut measured = Vec::new();
    for axis in &AXES {
        let values = match steps {
            None => axis.values,
            Some(_) => &axis.values[..3],
        };
        measured.push(measure(
            axis,
            values,
            steps.unwrap_or(STEPS),
            teachers.path(),
        )?);
    }
    for measured in &measured {
        for (name, svg) in page::plots(measured) {
            std::fs::write(folder.join(name), svg)?;
        }
    }
    std::fs::write(folder.join("scaling.md"), page::page(&measured))?;
    Ok(())
}

fn measure(
    axis: &'static Axis,
    values: &[usize],
    steps: usize,
    teachers: &Path,
) -> Result<Measured, Box<dyn Error>> {
    let mut costs = [const { Vec::new() }; THREADS.len()];
    for &value in values {
        let mut training = Training {
            teacher: teachers.join(VOCABULARY.to_string()),
            precision: Precision::F32,
            rows: ROWS,
            length: LENGTH,
            accumulation: 1,
            recomputed: Recomputed::Nothing,
            optimizer: OptimizerConfig::default(),
            tapped: 0,
            steps,
        };
        (axis.set)(&mut training, value);
        write_teacher(&training.teacher)?;
        for (threads, costs) in THREADS.into_iter().zip(&mut costs) {
            costs.push(training.cost(threads)?);
        }
    }
    Ok(Measured {
        axis,
        values: values.to_vec(),
        costs,
    })
}

/// A teacher of random weights in a folder that is named by its vocabulary, if it is not there yet.
fn write_teacher(folder: &Path) -> Result<(), Box<dyn Error>> {
    if folder.exists() {
        return Ok(());
    }
    let name = folder.file_name().and_then(|name| name.to_str());
    let config = DecoderConfig {
        vocabulary: name.unwrap_or_default().parse()?,
        layers: LAYERS,
        width: WIDTH,
        heads: WIDTH / 64,
        kv_heads: 1,
        head_width: 64,
        feed_forward_width: 512,
        ..DecoderConfig::default()
    };
    Decoder::random(&config, Seed(0), &Device::flex())?.save(folder, StoredAs::F32)?;
    Ok(())
}
