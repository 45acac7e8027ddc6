use crate::sparse::Sparse;
use burn::tensor::Tensor;
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
        .kl(student.clone(), weights)
        .attached_to(student)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Law, laws};
    use crate::output_pass::output_pass;
    use crate::testing::Scene;
    use crate::{SoftLoss, SoftTerm};
    use burn::tensor::Device;
    use distily_core::Seed;
    use proptest::prelude::*;

    fn term(seed: u64) -> SoftTerm {
        SoftTerm {
            name: "sampled_kl".to_owned(),
            weight: 1.0.into(),
            temperature: 2.0,
            temperature_squared: true,
            loss: SoftLoss::SampledKl {
                draws: 5,
                seed: Seed(seed),
            },
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
        let result = known.kl(student, weights);
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
