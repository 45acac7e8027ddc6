#![no_main]
//! What other tools kept of a teacher; the first byte says which of them, in JSON lines or parquet. Of
//! DistillKit, whose files are read by a configuration: that, a byte of 0, and rows.

use burn::tensor::Device;
use distily_core::ModelShape;
use distily_data::{
    Codec, ContentHash, Import, ImportFormat, Provenance, Recorder, Recording, RecordingConfig,
};
use distily_fuzz::{begin_with, folder, halves};
use libfuzzer_sys::fuzz_target;
use std::error::Error;
use std::fs;

const FORMATS: [ImportFormat; 4] = [
    ImportFormat::Vllm,
    ImportFormat::Axolotl,
    ImportFormat::Trl,
    ImportFormat::DistillKit,
];

const NAMES: [&str; 2] = ["rows.jsonl", "rows.parquet"];

const COMPRESSION: &str =
    include_str!("../../distily-data/tests/golden/imports/distill_kit/compression_config.yaml");

/// Each format's rows, in one line each.
const LINES: [&str; 7] = [
    r#"{"choices": [{"index": 0, "prompt_token_ids": [7, 8, 9], "prompt_logprobs": [null, {"8": {"logprob": -7.5, "rank": 31}, "30": {"logprob": -0.5, "rank": 1}}, {"9": {"logprob": -9999.0}}]}]}"#,
    r#"{"choices": [{"index": 0}], "prompt_token_ids": [4, 6], "prompt_logprobs": [null, {"6": {"logprob": -0.5}}]}"#,
    r#"{"input_ids": [7, 8], "target_logprobs": [[-0.5], []], "target_token_ids": [[8], []], "target_mask": [[1], []], "labels": [7, 8]}"#,
    r#"{"input_ids": [7, 8, 9], "logprobs": [[-0.25, -2.0], [-0.5, null]], "target_token_ids": [[8, 4], [9, 0]]}"#,
    r#"{"input_ids": [6, 8], "logprobs": [null, [{"token": "token_id:8", "logprob": -0.5}]]}"#,
    r#"{"sequences": [[7, 8, 9], [5, 6]], "prompt_lengths": [2, 0], "logprobs": [[[-0.5, null]], [[], [-1.0]]], "logprob_token_ids": [[[9, 3]], [[], [6]]]}"#,
    r#"{"input_ids": [7, 8], "compressed_logprobs": [[0, 184, 0, 188, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 184, 0, 188, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]], "bytepacked_indices": [[1, 2, 3], [1, 2, 3]]}"#,
];

fn inputs() -> impl Iterator<Item = Vec<u8>> {
    let lines = [0, 0, 1, 1, 1, 2, 3].into_iter().zip(LINES.map(str::as_bytes));
    let files: [(u8, &[u8]); 3] = [
        (5, include_bytes!("../../distily-data/tests/golden/imports/axolotl.parquet")),
        (7, include_bytes!("../../distily-data/tests/golden/imports/distill_kit/data_0.parquet")),
        (7, include_bytes!("../../distily-data/tests/golden/imports/distill_kit/data_1.parquet")),
    ];
    lines.chain(files).map(|(how, rows)| {
        let head = match FORMATS[usize::from(how) % FORMATS.len()] {
            ImportFormat::DistillKit => format!("{COMPRESSION}\0"),
            _ => String::new(),
        };
        [&[how], head.as_bytes(), rows].concat()
    })
}

fn read(name: &str, format: ImportFormat) -> Result<(), Box<dyn Error>> {
    let import = Import::open(folder().join(name), format)?;
    let rows = import.rows(6)?;
    let hash = ContentHash::of("fuzz", ["provenance"]);
    let config = RecordingConfig {
        provenance: Provenance {
            teacher: hash,
            tokenizer: hash,
            data: rows.key(),
            temperature: 1.0,
        },
        shape: ModelShape {
            vocabulary: 50,
            ..ModelShape::default()
        },
        codec: Codec::TopK { k: 4, p: 1.0 },
        hidden_layers: vec![],
    };
    let recording = folder().join("recording");
    if recording.exists() {
        fs::remove_dir_all(&recording)?;
    }
    Recorder::open(&recording, config.clone())?.import(&import, &rows)?;
    Recording::open(&recording, &config.provenance, &Device::flex())?.verify()?;
    Ok(())
}

fn init() {
    // In the place of the fuzzer's, which ends the process before a panic of parquet's can be caught.
    std::panic::set_hook(Box::new(|_| {}));
    begin_with("imports", inputs());
}

fuzz_target!(init: init(), |input: &[u8]| {
    let Some((how, mut rows)) = input.split_first() else {
        return;
    };
    let how = usize::from(*how);
    let (format, name) = (FORMATS[how % FORMATS.len()], NAMES[how / FORMATS.len() % NAMES.len()]);
    if format == ImportFormat::DistillKit {
        let (compression, after) = halves(rows);
        fs::write(folder().join("compression_config.yaml"), compression).expect("a file");
        rows = after;
    }
    fs::write(folder().join(name), rows).expect("a file");
    if let Err(problem) = read(name, format) {
        std::hint::black_box(problem.to_string());
    }
});
