//! The decoder against transformers: see `golden/decoders.py`.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor};
use distily_core::{Cache, Feature, LanguageModel, Taps, TokenBatch};
use distily_models::{Decoder, StoredAs};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

const TOLERANCE: f32 = 1e-4;

const CASES: [&str; 9] = [
    "untied",
    "llama3_tied",
    "llama_linear",
    "gpt2",
    "gpt2_untied",
    "mistral",
    "qwen2",
    "qwen3",
    "phi3",
];

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(case)
}

struct Golden(Vec<u8>);

impl Golden {
    fn read(case: &str) -> Self {
        Self(std::fs::read(folder(case).join("golden.safetensors")).unwrap())
    }

    fn bytes<const N: usize>(&self, name: &str) -> (Vec<[u8; N]>, Vec<usize>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        (
            tensor.data().as_chunks().0.to_vec(),
            tensor.shape().to_vec(),
        )
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name)
            .0
            .into_iter()
            .map(f32::from_le_bytes)
            .collect()
    }

    fn ids(&self, name: &str) -> (Vec<u32>, [usize; 2]) {
        let (bytes, shape) = self.bytes(name);
        (
            bytes.into_iter().map(u32::from_le_bytes).collect(),
            [shape[0], shape[1]],
        )
    }

    fn batch(&self, name: &str) -> TokenBatch {
        let (ids, shape) = self.ids(&format!("{name}.ids"));
        let (segments, _) = self.ids(&format!("{name}.segments"));
        TokenBatch::packed(ids, segments, shape).unwrap()
    }
}

/// Compares a tensor whose axis `seq` is the token's with the golden one, where tokens are real.
fn compare<const D: usize>(
    what: &str,
    ours: &Tensor<D>,
    golden: &[f32],
    batch: &TokenBatch,
    seq: usize,
) {
    let dims = ours.dims();
    let inner: usize = dims[seq + 1..].iter().product();
    let ours = ours.to_data().try_to_vec::<f32>().unwrap();
    assert_eq!(ours.len(), golden.len(), "{what}");
    let [_, length] = batch.shape();
    let per_row: usize = dims[1..].iter().product();
    for (at, (ours, golden)) in ours.iter().zip(golden).enumerate() {
        let token = at / inner % length;
        if batch.segments().ids()[at / per_row * length + token] != 0 {
            assert!(
                (ours - golden).abs() <= TOLERANCE,
                "{what}: element {at}: {ours} and {golden}"
            );
        }
    }
}

fn all_taps(layers: usize) -> Taps {
    (0..layers).fold(Taps::logits().with_embedding(), |taps, layer| {
        [
            Feature::Hidden,
            Feature::Query,
            Feature::Key,
            Feature::Value,
            Feature::Attention,
        ]
        .into_iter()
        .fold(taps, |taps, feature| taps.with(layer, feature))
    })
}

fn check(case: &str) {
    let golden = Golden::read(case);
    let model = Decoder::load(&folder(case), &Device::flex()).unwrap();
    for name in ["plain", "padded", "packed"] {
        let batch = golden.batch(name);
        // Attention weights take another path than attention alone: both are compared.
        let bare = model.forward(&batch, &Taps::logits()).unwrap();
        let outputs = model.forward(&batch, &all_taps(2)).unwrap();
        let of = |what: &str| golden.floats(&format!("{name}.{what}"));
        for outputs in [&bare, &outputs] {
            compare(
                &format!("{case}, {name}: logits"),
                outputs.logits.as_ref().unwrap(),
                &of("logits"),
                &batch,
                1,
            );
            compare(
                &format!("{case}, {name}: final"),
                &outputs.hidden,
                &of("final"),
                &batch,
                1,
            );
        }
        assert!(bare.features.layers.is_empty() && bare.features.embedding.is_none());
        let features = &outputs.features;
        compare(
            &format!("{case}, {name}: embedding"),
            features.embedding.as_ref().unwrap(),
            &of("embedding"),
            &batch,
            1,
        );
        for layer in 0..2 {
            compare(
                &format!("{case}, {name}: hidden {layer}"),
                features.hidden(layer).unwrap(),
                &of(&format!("hidden.{layer}")),
                &batch,
                1,
            );
            for (feature, what) in [
                (Feature::Query, "query"),
                (Feature::Key, "key"),
                (Feature::Value, "value"),
                (Feature::Attention, "attention"),
            ] {
                let ours = features.heads(layer, feature).unwrap();
                let label = format!("{case}, {name}: {what} {layer}");
                compare(&label, ours, &of(&format!("{what}.{layer}")), &batch, 2);
            }
        }
    }
}

#[test]
fn every_architecture_reveals_what_transformers_does() {
    for case in CASES {
        check(case);
    }
}

#[test]
fn a_cached_pass_is_the_uncached_one_left_padding_included() {
    for case in CASES {
        let model = Decoder::load(&folder(case), &Device::flex()).unwrap();
        let batch = Golden::read(case).batch("padded");
        let cut = |from: usize, to: usize| {
            let cut = |values: &[u32]| -> Vec<u32> {
                values
                    .chunks(10)
                    .flat_map(|row| &row[from..to])
                    .copied()
                    .collect()
            };
            let ids: Vec<u32> = batch.id_rows().flatten().copied().collect();
            TokenBatch::packed(cut(&ids), cut(batch.segments().ids()), [2, to - from])
                .unwrap()
                .with_positions(cut(batch.positions()))
                .unwrap()
        };
        let mut cache = Cache::default();
        for (from, to) in [(0, 5), (5, 6), (6, 10)] {
            let part = cut(from, to);
            let taps = Taps::logits();
            let cached = model.forward_cached(&part, &taps, &mut cache).unwrap();
            let whole = model.forward(&cut(0, to), &taps).unwrap();
            let [cached, whole] = [cached, whole].map(|outputs| outputs.logits.unwrap());
            assert_eq!(cached.dims(), [2, to - from, 48]);
            let real = 4.max(from);
            let difference =
                cached.slice([0..2, real - from..to - from]) - whole.slice([0..2, real..to]);
            let difference = difference.abs().max().into_scalar::<f32>();
            assert!(difference < 1e-5, "{case}, {from}..{to}: {difference}");
        }
    }
}

#[test]
fn what_is_saved_is_what_is_loaded() {
    for case in CASES {
        let device = Device::flex();
        let model = Decoder::load(&folder(case), &device).unwrap();
        let saved = tempfile::tempdir().unwrap();
        model.save(saved.path(), StoredAs::F32).unwrap();
        let again = Decoder::load(saved.path(), &device).unwrap();
        assert_eq!(again.config(), model.config());
        let batch = Golden::read(case).batch("packed");
        let logits = |model: &Decoder| {
            model
                .forward(&batch, &Taps::logits())
                .unwrap()
                .logits
                .unwrap()
                .into_data()
        };
        assert_eq!(logits(&model), logits(&again));
        for (stored_as, tolerance) in [(StoredAs::BF16, 0.2), (StoredAs::F16, 0.02)] {
            model.save(saved.path(), stored_as).unwrap();
            let rounded = Decoder::load(saved.path(), &device).unwrap();
            let pairs = logits(&model)
                .iter::<f32>()
                .zip(logits(&rounded).iter::<f32>())
                .collect::<Vec<_>>();
            assert!(
                pairs.iter().all(|(a, b)| (a - b).abs() < tolerance),
                "{stored_as:?}"
            );
        }
    }
}

/// Saves both models and has transformers open them:
/// `DISTILY_PYTHON=python cargo test --release -p distily-models -- --ignored`.
#[test]
#[ignore = "needs the Python interpreter that DISTILY_PYTHON names"]
fn transformers_opens_what_is_saved() {
    let python = std::env::var("DISTILY_PYTHON").expect("DISTILY_PYTHON names an interpreter");
    for case in CASES {
        let model = Decoder::load(&folder(case), &Device::flex()).unwrap();
        let saved = tempfile::tempdir().unwrap();
        model.save(saved.path(), StoredAs::F32).unwrap();
        let golden = Golden::read(case);
        let logits = model
            .forward(&golden.batch("plain"), &Taps::logits())
            .unwrap()
            .logits
            .unwrap();
        let (ids, shape) = golden.bytes::<4>("plain.ids");
        let ids: Vec<u8> = ids.concat();
        let values: Vec<u8> = logits
            .to_data()
            .iter::<f32>()
            .flat_map(f32::to_le_bytes)
            .collect();
        let view = |dtype, shape: Vec<usize>, data| {
            safetensors::tensor::TensorView::new(dtype, shape, data).unwrap()
        };
        let tensors = [
            ("ids", view(safetensors::Dtype::I32, shape, ids.as_slice())),
            (
                "logits",
                view(
                    safetensors::Dtype::F32,
                    logits.dims().to_vec(),
                    values.as_slice(),
                ),
            ),
        ];
        safetensors::serialize_to_file(tensors, None, &saved.path().join("expected.safetensors"))
            .unwrap();
        let status = std::process::Command::new(&python)
            .arg(folder("opens.py"))
            .arg(saved.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
}
