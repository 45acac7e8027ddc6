//! A decoder as a part of somebody's own module, and with gradient checkpointing: the gradients are
//! the same.
#![allow(clippy::unwrap_used)]

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Gradients, Tensor};
use distily_core::{Cache, Feature, LanguageModel, Seed, Taps, TokenBatch};
use distily_models::{Architecture, Decoder, DecoderConfig, freeze};

fn config(architecture: Architecture) -> DecoderConfig {
    DecoderConfig {
        vocabulary: 24,
        width: 16,
        layers: 2,
        heads: 2,
        kv_heads: 2,
        head_width: 8,
        feed_forward_width: 24,
        positions: 32,
        ..DecoderConfig::of(architecture)
    }
}

#[derive(Module, Debug)]
struct Assistant {
    name: Linear,
    parts: Vec<Part>,
}

#[derive(Module, Debug)]
struct Part {
    model: Option<Decoder>,
}

/// The gradients of a loss, one after the other.
fn gradients(model: &Decoder) -> Vec<f32> {
    struct Collector<'a> {
        gradients: &'a Gradients,
        values: Vec<f32>,
    }
    impl ModuleVisitor for Collector<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.gradients) {
                self.values.extend(gradient.into_data().iter::<f32>());
            }
        }
    }
    let ids = (0..20).map(|id| id % 7 + id % 3).collect();
    let batch = TokenBatch::new(ids, [2, 10]).unwrap();
    let outputs = model.forward(&batch, &Taps::logits()).unwrap();
    let loss = outputs.logits.unwrap().square().mean();
    let mut collector = Collector {
        gradients: &loss.backward(),
        values: Vec::new(),
    };
    model.visit(&mut collector);
    collector.values
}

#[test]
fn a_part_of_another_module_has_the_same_gradients() {
    for architecture in Architecture::ALL {
        let device = Device::flex().autodiff();
        let alone = Decoder::random(&config(architecture), Seed(3), &device).unwrap();
        let whole = Assistant {
            name: LinearConfig::new(2, 2).init(&device),
            parts: vec![Part {
                model: Some(alone.clone()),
            }],
        };
        // As a trainer treats it: named through the whole path, mapped, and there and back.
        let whole = freeze(whole, &[r"^parts\.0\.model\.layers\.0\."]).unwrap();
        let record = whole.valid().into_record();
        let whole = whole.load_record(record);
        let part = whole.parts[0].model.as_ref().unwrap();
        let frozen = freeze(alone, &[r"^layers\.0\."]).unwrap();
        let expected = gradients(&frozen);
        assert!(expected.iter().any(|&gradient| gradient != 0.0));
        assert_eq!(gradients(part), expected, "{architecture:?}");
    }
}

#[test]
fn checkpointing_gives_the_same_gradients() {
    for architecture in Architecture::ALL {
        let model =
            |device: &Device| Decoder::random(&config(architecture), Seed(3), device).unwrap();
        let plain = model(&Device::flex().autodiff());
        let by_operation = model(&Device::flex().autodiff().gradient_checkpointing());
        let by_block = |layers: &[usize]| {
            let layers = layers.iter().copied();
            plain.clone().with_gradient_checkpointing(layers).unwrap()
        };
        let expected = gradients(&plain);
        for checkpointed in [by_operation, by_block(&[1]), by_block(&[0, 1])] {
            assert_eq!(gradients(&checkpointed), expected, "{architecture:?}");
        }
    }
}

#[test]
fn there_is_no_block_to_checkpoint_beyond_the_last() {
    let device = Device::flex().autodiff();
    let model = Decoder::random(&config(Architecture::Llama), Seed(3), &device).unwrap();
    let error = model.with_gradient_checkpointing([0, 2]).unwrap_err();
    assert!(error.to_string().contains("no layer 2"), "{error}");
}

/// The last block and the final norm are poison: who asks for earlier features does not meet them.
#[test]
fn what_no_tapped_feature_needs_is_not_computed() {
    let device = Device::flex();
    let mut model = Decoder::random(&config(Architecture::Llama), Seed(3), &device).unwrap();
    let batch = TokenBatch::new((0..10).collect(), [1, 10]).unwrap();
    let taps = Taps::features_only().with(0, Feature::Hidden);
    let hidden = |model: &Decoder, taps: &Taps| {
        let outputs = model.forward(&batch, taps).unwrap();
        let hidden = outputs.features.hidden(0).unwrap().clone();
        (hidden.into_data(), outputs.hidden.into_data())
    };
    let (expected, _) = hidden(&model, &taps.union(&Taps::none()));
    let poison = Tensor::full([16, 16], f32::NAN, &device);
    model.layers[1].self_attn.o_proj.weight = Param::from_tensor(poison);
    let (of_layer, output) = hidden(&model, &taps);
    assert_eq!(of_layer, expected);
    assert!(output.iter::<f32>().all(f32::is_finite));
    let (_, output) = hidden(&model, &taps.union(&Taps::none()));
    assert!(output.iter::<f32>().any(f32::is_nan));
}

#[test]
fn a_cache_holds_all_layers_whatever_is_tapped() {
    let model = Decoder::random(&config(Architecture::Llama), Seed(3), &Device::flex()).unwrap();
    let batch = |ids: std::ops::Range<u32>| {
        let (shape, positions) = ([1, ids.len()], ids.clone().collect());
        let batch = TokenBatch::new(ids.collect(), shape).unwrap();
        batch.with_positions(positions).unwrap()
    };
    let mut cache = Cache::default();
    let taps = Taps::features_only().with(0, Feature::Hidden);
    model
        .forward_cached(&batch(0..6), &taps, &mut cache)
        .unwrap();
    let last = model
        .forward_cached(&batch(6..7), &Taps::logits(), &mut cache)
        .unwrap();
    let whole = model
        .forward(&batch(0..7), &Taps::logits())
        .unwrap()
        .of_last(1);
    let [cached, whole] = [last, whole].map(|outputs| outputs.logits.unwrap());
    let difference: f32 = (cached - whole).abs().max().into_scalar();
    assert!(difference < 1e-5, "{difference}");
}
