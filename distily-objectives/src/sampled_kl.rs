use crate::output_pass::{check_vocabularies, output_pass};
use crate::sparse::Sparse;
use crate::{Weight, soft};
use burn::tensor::Tensor;
use distily_core::{
    Comparison, ModelShape, ObjectiveError, OutputLoss, OutputTokens, Seed, Taps, Term,
    ValueAndGradient,
};
use rand::Rng;

/// Forward KL to ids drawn from a teacher (random sampling KD, ACL 2025): Σ weight · T² · Σ_ids
/// f log(f/q), where f is how often an id came among `draws` with replacement from p, and p and q
/// are the softmax of the teacher's and the student's logits over the temperature T. In the mean
/// over draws its gradient is that of the full KL. Its value is not: it is larger by what the
/// draws' entropy falls short of the teacher's.
///
/// Shapes: both logits `[tokens, vocabulary]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. Each token, also of weight 0, takes
/// `draws` numbers of 64 bits from the generator. The gradient is taken in closed form with the
/// value; the teacher gets none.
///
/// # Panics
///
/// If the shapes differ.
pub fn sampled_kl(
    student: Tensor<2>,
    teacher: Tensor<2>,
    draws: usize,
    weights: Tensor<1>,
    temperature: f64,
    generator: &mut impl Rng,
) -> Tensor<1> {
    assert_eq!(student.dims(), teacher.dims(), "the logits' shapes differ");
    Sparse::random_sample(teacher, draws, temperature, generator)
        .kl(student.clone(), weights, temperature)
        .attached_to(student)
}

/// [`sampled_kl`] as a [`Term`], of a teacher whose logits are known. What is drawn depends on the
/// seed, the optimizer step and the prediction's place in its batch alone.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledKl {
    /// What logs and reports call it.
    pub name: String,
    /// Its factor in the objective.
    pub weight: Weight,
    /// How many ids are drawn for each token.
    pub draws: usize,
    /// Of the draws.
    pub seed: Seed,
    /// The temperature T.
    pub temperature: f64,
    /// Whether it is multiplied by T², so that its gradient keeps its size when T changes.
    pub temperature_squared: bool,
}

impl OutputLoss for SampledKl {
    fn value_and_gradient(
        &self,
        tokens: &OutputTokens,
    ) -> Result<ValueAndGradient, ObjectiveError> {
        let teacher = soft::shared_logits(tokens, &self.name)?;
        let weights = soft::weights(tokens, self.temperature, self.temperature_squared);
        let mut generator = self.seed.generator("sampled_kl", tokens.step as u64);
        // Where the tokens of the chunks before end: words of 32 bits, and chunks change nothing.
        generator.set_word_pos(2 * self.draws as u128 * tokens.first as u128);
        let known = Sparse::random_sample(teacher, self.draws, self.temperature, &mut generator);
        Ok(known.kl(tokens.student.clone(), weights, self.temperature))
    }
}

impl Term for SampledKl {
    fn name(&self) -> &str {
        &self.name
    }

    fn weight(&self, step: usize) -> f64 {
        self.weight.at(step)
    }

    fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError> {
        check_vocabularies(&self.name, student, teacher)?;
        Ok((Taps::none(), Taps::none()))
    }

    fn value(&self, comparison: &Comparison<'_>) -> Result<Tensor<1>, ObjectiveError> {
        Ok(output_pass(&[(1.0, self)], comparison, None)?.total)
    }

    fn output_loss(&self) -> Option<&dyn OutputLoss> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Law, laws};
    use crate::testing::Scene;
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn term(seed: u64) -> SampledKl {
        SampledKl {
            name: "sampled_kl".to_owned(),
            weight: 1.0.into(),
            draws: 5,
            seed: Seed(seed),
            temperature: 2.0,
            temperature_squared: true,
        }
    }

    proptest! {
        /// With the same draws for each token, so that their order changes nothing.
        #[test]
        fn it_keeps_the_laws(
            seed in any::<u64>(), tokens in 1usize..6, vocabulary in 2usize..9,
            draws in 1usize..12, temperature in 0.5f64..3.0,
        ) {
            let kl = |s: Tensor<2>, t: Tensor<2>, w: Tensor<1>| {
                let of = |token| {
                    let mut generator = Seed(seed).generator("test", 0);
                    let (s, t) = (s.clone().narrow(0, token, 1), t.clone().narrow(0, token, 1));
                    sampled_kl(s, t, draws, w.clone().narrow(0, token, 1), temperature, &mut generator)
                };
                (0..s.dims()[0]).map(of).reduce(|sum, of| sum + of).expect("a token")
            };
            laws(&kl, [tokens, vocabulary], seed, &[Law::Additive]);
        }

        /// What is drawn depends on the seed and on the step, and not on the chunks.
        #[test]
        fn chunks_change_nothing(seed in any::<u64>(), chunk in 1usize..9) {
            let scene = Scene::new([11, 11], seed);
            let value = |seed, step, chunk| {
                let pass = output_pass(&[(1.0, &term(seed))], &scene.comparison(step), chunk);
                pass.unwrap().total.into_scalar::<f32>()
            };
            let whole = value(seed, 3, None);
            prop_assert!((value(seed, 3, Some(chunk)) - whole).abs() < 1e-5);
            prop_assert!(value(seed, 4, None) != whole && value(!seed, 3, None) != whole);
        }
    }

    #[test]
    fn it_is_the_value_of_the_formula() {
        let device = Device::default();
        let student = Tensor::<2>::from_data([[0.25f32, 0.75]], &device).log();
        // What is sure is drawn every time: log(1 / q).
        let sure = Tensor::<2>::from_data([[0.0f32, -1e4]], &device);
        let weights = crate::mean_over(&[true], &device);
        let mut generator = Seed(1).generator("test", 0);
        let kl = sampled_kl(student, sure, 7, weights, 1.0, &mut generator).into_scalar::<f32>();
        assert!((kl - 4f32.ln()).abs() < 1e-6, "{kl}");
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let infinite = f32::NEG_INFINITY;
        let student = Tensor::<2>::from_data([[1e4, -1e4, 0.0, infinite]], &Device::default());
        let teacher = Tensor::<2>::from_data([[0.0, infinite, 0.0, -1e4]], &Device::default());
        let known = Sparse::random_sample(teacher, 64, 1.0, &mut Seed(1).generator("test", 0));
        let weights = crate::mean_over(&[true], &Device::default());
        let result = known.kl(student, weights, 1.0);
        // Half of the draws are of the third id: .5 log(.5 / 1) + .5 log(.5 / e^-1e4), about.
        let value = result.value.into_scalar::<f32>();
        assert!((3000.0..7000.0).contains(&value), "{value}");
        assert!(
            result
                .gradient
                .into_data()
                .iter::<f32>()
                .all(|g| g.is_finite())
        );
    }
}
