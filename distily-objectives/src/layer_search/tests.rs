use super::*;
use crate::features::testing::random;
use crate::{cka, mean_over};
use distily_core::{Answer, Distribution, Head, LayerFeatures, ModelShape, Outputs};
use proptest::prelude::*;
use std::sync::Arc;

const WIDTH: usize = 6;
const TOKENS: usize = 64;

/// A model whose hidden state in each layer is a row of a table `[ids, width]`.
#[derive(Debug, Clone)]
struct Planted(Vec<Tensor<2>>);

impl LanguageModel for Planted {
    fn shape(&self) -> ModelShape {
        let [vocabulary, width] = self.0.first().map_or([0; 2], |table| table.dims());
        ModelShape {
            vocabulary,
            width,
            layers: self.0.len(),
            ..ModelShape::default()
        }
    }

    fn device(&self) -> Device {
        Device::default()
    }

    fn head(&self) -> Head {
        Head::by_vocabulary(self.0[0].clone())
    }

    fn forward(&self, batch: &TokenBatch, taps: &Taps) -> Result<Outputs, ForwardError> {
        LanguageModel::shape(self).check(batch, taps)?;
        let ids = batch.ids(&self.device()).flatten::<1>(0, 1);
        let [rows, length] = batch.shape();
        let hidden = |table: &Tensor<2>| {
            let hidden = table.clone().select(0, ids.clone());
            hidden.reshape([rows, length, table.dims()[1]])
        };
        let layer = |(layer, table)| {
            let hidden = taps.wants(layer, Feature::Hidden).then(|| hidden(table));
            let features = LayerFeatures {
                hidden,
                ..LayerFeatures::default()
            };
            (layer, features)
        };
        let features = Features {
            embedding: None,
            layers: self.0.iter().enumerate().map(layer).collect(),
        };
        Ok(Outputs::new(hidden(&self.0[0]), &self.head(), taps).with_features(features))
    }
}

impl Teacher for Planted {
    fn shape(&self) -> ModelShape {
        LanguageModel::shape(self)
    }

    fn answer(&self, batch: &TokenBatch, taps: &Taps) -> Result<Answer, ForwardError> {
        let outputs = self.forward(batch, taps)?;
        Ok(Answer {
            distribution: Distribution::Hidden(outputs.hidden, Box::new(self.head())),
            features: outputs.features,
        })
    }

    fn on(&self, _: &Device) -> Arc<dyn Teacher> {
        Arc::new(self.clone())
    }
}

impl Planted {
    /// Layers that have nothing to do with each other.
    fn noise(layers: usize, seed: u64) -> Self {
        let layer = |layer| random([TOKENS, WIDTH], seed ^ layer << 32) + 0.3;
        Self((0..layers as u64).map(layer).collect())
    }

    /// Some of its layers, changed.
    fn of(&self, layers: &[usize], change: impl Fn(Tensor<2>) -> Tensor<2>) -> Self {
        Self(
            layers
                .iter()
                .map(|&layer| change(self.0[layer].clone()))
                .collect(),
        )
    }
}

fn ids(ids: std::ops::Range<u32>) -> TokenBatch {
    let length = ids.len();
    TokenBatch::new(ids.collect(), [1, length]).unwrap()
}

fn all_ids() -> TokenBatch {
    ids(0..TOKENS as u32)
}

/// A search of hidden states as they are.
fn search(score: LayerScore) -> LayerSearch {
    LayerSearch {
        score,
        rms_normalized: false,
        ..LayerSearch::default()
    }
}

const SCORES: [LayerScore; 2] = [LayerScore::Cka, LayerScore::LinearFit];

/// The largest difference of two tables.
fn apart(a: &FoundLayers, b: &FoundLayers) -> f64 {
    let (a, b) = (a.scores.concat(), b.scores.concat());
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(&b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

proptest! {
    #[test]
    fn a_students_own_layers_are_found(seed in any::<u64>()) {
        let teacher = Planted::noise(5, seed);
        // The second is out of order.
        for (layers, monotone) in [([0, 2, 4], true), ([3, 0, 3], false)] {
            let student = teacher.of(&layers, |x| x);
            for score in SCORES {
                let search = LayerSearch { monotone, ..search(score) };
                let found = search.run(&student, &teacher, [all_ids()]).unwrap();
                let expected = [(0, layers[0]), (1, layers[1]), (2, layers[2])];
                prop_assert_eq!(found.map.pairs(), expected);
                for (scores, at) in found.scores.iter().zip(layers) {
                    prop_assert!(scores[at] > 0.999, "{found}");
                    prop_assert!(scores.iter().filter(|&&score| score > 0.9).count() == 1, "{found}");
                }
            }
        }
    }

    #[test]
    fn a_rotation_is_found_by_cka_and_any_linear_map_by_the_fit(
        seed in any::<u64>(), angle in 0f32..6.0, shift in -5f32..5.0,
    ) {
        let teacher = Planted::noise(4, seed);
        let device = teacher.device();
        let (sin, cos) = angle.sin_cos();
        let rotated = |x: Tensor<2>| {
            let turn = Tensor::<2>::from_data([[cos, sin], [-sin, cos]], &device);
            let pairs: Vec<Tensor<2>> = x.split(2, 1).into_iter().map(|x| x.matmul(turn.clone())).collect();
            Tensor::cat(pairs, 1) * 3.0 + shift
        };
        let mix = random([WIDTH, WIDTH], !seed) * 0.2 + Tensor::<2>::eye(WIDTH, &device);
        let mixed = |x: Tensor<2>| x.matmul(mix.clone()) + shift;
        let found = |student: &Planted, score| search(score).run(student, &teacher, [all_ids()]).unwrap();
        let by_cka = found(&teacher.of(&[1, 2], rotated), LayerScore::Cka);
        let by_fit = found(&teacher.of(&[1, 2], mixed), LayerScore::LinearFit);
        for found in [by_cka, by_fit] {
            prop_assert_eq!(found.map.pairs(), [(0, 1), (1, 2)]);
            prop_assert!(found.scores[0][1] > 0.999 && found.scores[1][2] > 0.999, "{found}");
        }
    }

    #[test]
    fn cka_is_that_of_the_plain_function(seed in any::<u64>(), rms_normalized: bool) {
        let (student, teacher) = (Planted::noise(2, seed), Planted::noise(3, !seed));
        let search = LayerSearch { rms_normalized, ..search(LayerScore::Cka) };
        let found = search.run(&student, &teacher, [all_ids()]).unwrap();
        let weights = mean_over(&[true; TOKENS], &student.device());
        let read = |x: &Tensor<2>| match rms_normalized {
            true => crate::rms_normalized(x.clone(), 0.0),
            false => x.clone(),
        };
        for (of_student, scores) in student.0.iter().zip(&found.scores) {
            for (of_teacher, score) in teacher.0.iter().zip(scores) {
                let loss = cka(read(of_student), read(of_teacher), weights.clone());
                let loss = loss.into_scalar::<f64>();
                prop_assert!((score - (1.0 - loss)).abs() < 1e-5, "{score} {loss}");
            }
        }
    }

    #[test]
    fn r_squared_is_that_of_the_residual(seed in any::<u64>()) {
        let (student, teacher) = (Planted::noise(1, seed), Planted::noise(1, !seed));
        let search = search(LayerScore::LinearFit);
        let found = search.run(&student, &teacher, [all_ids()]).unwrap();
        // Gradient descent finds the same fit in another way.
        let centred = |x: &Tensor<2>| x.clone() - x.clone().mean_dim(0);
        let (x, y) = (centred(&student.0[0]), centred(&teacher.0[0]));
        let mut map = Tensor::<2>::zeros([WIDTH, WIDTH], &student.device());
        for _ in 0..300 {
            let residual = y.clone() - x.clone().matmul(map.clone());
            map = map + x.clone().transpose().matmul(residual) / TOKENS as f64;
        }
        let residual = (y.clone() - x.matmul(map)).square().sum() / y.square().sum();
        let expected = 1.0 - residual.into_scalar::<f64>();
        prop_assert!((found.scores[0][0] - expected).abs() < 1e-3, "{found} {expected}");
    }

    #[test]
    fn columns_that_say_nothing_new_change_nothing(seed in any::<u64>(), size in 0f32..1e3) {
        let (teacher, student) = (Planted::noise(3, seed), Planted::noise(2, !seed));
        let copied = |x: Tensor<2>| {
            let first = x.clone().narrow(1, 0, 1);
            Tensor::cat(vec![x, first.clone() * size, first.ones_like()], 1)
        };
        let run = |student: &Planted| {
            search(LayerScore::LinearFit).run(student, &teacher, [all_ids()]).unwrap()
        };
        let difference = apart(&run(&student), &run(&student.of(&[0, 1], copied)));
        prop_assert!(difference < 1e-3, "{difference}");
    }

    #[test]
    fn batches_in_pieces_are_the_whole(
        seed in any::<u64>(), cuts in prop::collection::vec(1..TOKENS as u32, 1..4), shift in 0f32..50.0,
    ) {
        let teacher = Planted::noise(3, seed).of(&[0, 1, 2], |x| x + shift);
        let student = Planted::noise(2, !seed);
        let mut cuts = [vec![0, TOKENS as u32], cuts].concat();
        cuts.sort_unstable();
        cuts.dedup();
        for score in SCORES {
            let run = |batches: Vec<TokenBatch>| search(score).run(&student, &teacher, batches).unwrap();
            let pieces = run(cuts.windows(2).map(|cut| ids(cut[0]..cut[1])).collect());
            let difference = apart(&run(vec![all_ids()]), &pieces);
            prop_assert!(difference < 1e-4, "{difference}");
        }
    }

    #[test]
    fn padding_changes_nothing(seed in any::<u64>(), padding in 1usize..9) {
        // What stands at padding is no number.
        let spoilt = |x: Tensor<2>| x.slice_fill(0..1, f32::NAN);
        let (teacher, student) = (Planted::noise(3, seed), Planted::noise(2, !seed));
        let (teacher, student) = (teacher.of(&[0, 1, 2], spoilt), student.of(&[0, 1], spoilt));
        let rows = [(1..40).collect(), (40..TOKENS as u32).collect::<Vec<_>>()];
        let padded = TokenBatch::padded_left(&rows, 0).unwrap();
        let nothing = TokenBatch::packed(vec![0; padding], vec![0; padding], [1, padding]).unwrap();
        for score in SCORES {
            let run = |batches: Vec<TokenBatch>| search(score).run(&student, &teacher, batches).unwrap();
            let plain = run(vec![ids(1..TOKENS as u32)]);
            let difference = apart(&plain, &run(vec![nothing.clone(), padded.clone()]));
            prop_assert!(difference < 1e-6, "{difference}");
        }
    }

    #[test]
    fn the_size_of_a_token_is_nothing_to_normalized_states(seed in any::<u64>()) {
        let (teacher, student) = (Planted::noise(3, seed), Planted::noise(2, !seed));
        let sizes = random([TOKENS, 1], seed ^ 3).abs() * 100.0 + 0.01;
        let scaled = teacher.of(&[0, 1, 2], |x| x * sizes.clone());
        for score in SCORES {
            let search = LayerSearch { score, ..LayerSearch::default() };
            let run = |teacher| search.run(&student, teacher, [all_ids()]).unwrap();
            let difference = apart(&run(&teacher), &run(&scaled));
            prop_assert!(difference < 1e-5, "{difference}");
        }
    }

    #[test]
    fn any_scale_has_the_same_scores(seed in any::<u64>(), power in -15i32..15) {
        let (teacher, student) = (Planted::noise(3, seed), Planted::noise(2, !seed));
        let scaled = student.of(&[0, 1], |x| x * 10f32.powi(power));
        for score in SCORES {
            let run = |student| search(score).run(student, &teacher, [all_ids()]).unwrap();
            let difference = apart(&run(&student), &run(&scaled));
            prop_assert!(difference < 1e-4, "{difference}");
        }
    }
}

#[test]
fn it_is_read_from_a_config() {
    let search: LayerSearch = toml::from_str("").unwrap();
    assert_eq!(search, LayerSearch::default());
    let text = "score = \"cka\"\nmonotone = false";
    let search: LayerSearch = toml::from_str(text).unwrap();
    let expected = LayerSearch {
        score: LayerScore::Cka,
        monotone: false,
        ..LayerSearch::default()
    };
    assert_eq!(search, expected);
    assert!(toml::from_str::<LayerSearch>("ridge = 1").is_err());
}

#[test]
fn what_can_not_be_searched_is_an_error() {
    let (teacher, student) = (Planted::noise(3, 1), Planted::noise(2, 2));
    let run = |student: &Planted, teacher: &Planted, batch: Option<TokenBatch>| {
        let error = search(LayerScore::LinearFit)
            .run(student, teacher, batch)
            .unwrap_err();
        error.to_string()
    };
    assert_eq!(
        run(&student, &teacher, None),
        "got 0 tokens that are not padding, expected more than 6: give more batches"
    );
    assert_eq!(
        run(&student, &teacher, Some(ids(0..6))),
        "got 6 tokens that are not padding, expected more than 6: give more batches"
    );
    let one = search(LayerScore::Cka).run(&student, &teacher, [ids(0..1)]);
    let expected = LayerSearchError::TooFewTokens {
        tokens: 1,
        bound: 1,
    };
    assert_eq!(one.unwrap_err().to_string(), expected.to_string());
    assert_eq!(
        run(&student, &Planted(vec![]), Some(all_ids())),
        "a layer map needs layers on both sides, got 2 (student) and 0 (teacher)"
    );

    for spoilt in [f32::NAN, f32::INFINITY, 1e25] {
        let mut teacher = teacher.clone();
        teacher.0[1] = teacher.0[1].clone().slice_fill([3..4, 2..3], spoilt);
        assert_eq!(
            run(&student, &teacher, Some(all_ids())),
            "the hidden states of layer 1 of the teacher are not finite, or too large to be multiplied: \
             check its weights"
        );
    }
    for constant in [0.0, 0.1] {
        let mut student = student.clone();
        student.0[0] = Tensor::full([TOKENS, WIDTH], constant, &student.device()) * 3.0;
        let error = run(&student, &teacher, Some(all_ids()));
        assert!(
            error.contains("layer 0 of the student vary too little"),
            "{error}"
        );
    }
    assert_eq!(
        run(
            &Planted(vec![random([9, WIDTH], 1)]),
            &teacher,
            Some(all_ids())
        ),
        "the student: token id 63 is not in the model's vocabulary of 9: was the text tokenised for \
         another model?"
    );
}

/// A teacher that keeps its features to itself, as a recording of logits does.
#[derive(Debug)]
struct Mute(Planted);

impl Teacher for Mute {
    fn shape(&self) -> ModelShape {
        LanguageModel::shape(&self.0)
    }

    fn answer(&self, batch: &TokenBatch, _: &Taps) -> Result<Answer, ForwardError> {
        self.0.answer(batch, &Taps::none()).map(|answer| Answer {
            features: Features::default(),
            ..answer
        })
    }

    fn on(&self, _: &Device) -> Arc<dyn Teacher> {
        Arc::new(Self(self.0.clone()))
    }
}

#[test]
fn a_teacher_must_reveal_its_hidden_states() {
    let (student, teacher) = (Planted::noise(2, 1), Mute(Planted::noise(3, 2)));
    let error = LayerSearch::default().run(&student, &teacher, [all_ids()]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "the teacher: this model does not reveal its hidden states"
    );
}

#[test]
fn a_graph_changes_nothing() {
    let teacher = Planted::noise(3, 1);
    let tracked = teacher.of(&[0, 2], |x| Tensor::from_inner(x).require_grad());
    let plain = teacher.of(&[0, 2], |x| x);
    let run = |student| {
        LayerSearch::default()
            .run(student, &teacher, [all_ids()])
            .unwrap()
    };
    assert_eq!(run(&tracked), run(&plain));
}
