use super::centring::Centring;
use super::cholesky::{cholesky, inverse_of_lower};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use distily_kernels::{in_format_of, widened};
use thiserror::Error;

/// Why features can't be whitened.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum WhiteningError {
    /// A covariance of this width needs more tokens.
    #[error(
        "got {tokens} tokens of width {width}, expected more tokens than the width: give more batches"
    )]
    TooFewTokens {
        /// Tokens that counted.
        tokens: usize,
        /// The width.
        width: usize,
    },
    /// The shrinkage is no share.
    #[error("`shrinkage`: got {got}, expected a number from 0 to 1")]
    Shrinkage {
        /// What was given.
        got: f64,
    },
    /// The batches are not alike.
    #[error("got a batch of width {got}, expected {expected} as in the first")]
    Width {
        /// Its width.
        got: usize,
        /// The first batch's.
        expected: usize,
    },
    /// Features that are not finite, or without any variance left after shrinkage.
    #[error(
        "the covariance is not positive definite at column {column}: the features are not finite, constant, or need more shrinkage"
    )]
    NotDefinite {
        /// Where it was found.
        column: usize,
    },
}

/// The whitening of a teacher's features: x ↦ (x - mean) L⁻ᵀ, where L Lᵀ = (1 - λ) C + λ tr(C)/d · I
/// is the shrunk covariance C of calibration features, by its Cholesky factor. Whitened, every
/// direction counts the same in a squared error, and not by its variance.
///
/// It is a module, so that a checkpoint keeps it, but nothing of it is trained.
#[derive(Module, Debug)]
pub struct Whitening {
    /// `[width]`.
    mean: Param<Tensor<1>>,
    /// L⁻¹, `[width, width]`.
    inverse: Param<Tensor<2>>,
}

impl Whitening {
    /// The whitening of batches `[tokens, width]`, each with the weights of its tokens `[tokens]`,
    /// of which only matters where they are 0: those tokens do not count, whatever they hold. The
    /// shrinkage λ is usually 1e-3.
    ///
    /// Products are taken in f32 on the features' device, about each batch's own mean, and added up
    /// and factorised in f64 on the host, in time width³.
    ///
    /// # Errors
    ///
    /// [`WhiteningError`]: more tokens than the width must count.
    ///
    /// # Panics
    ///
    /// If a batch has not as many weights as tokens.
    pub fn of(
        batches: impl IntoIterator<Item = (Tensor<2>, Tensor<1>)>,
        shrinkage: f64,
    ) -> Result<Self, WhiteningError> {
        let mut batches = batches.into_iter().peekable();
        let Some(first) = batches.peek() else {
            return Err(WhiteningError::TooFewTokens {
                tokens: 0,
                width: 0,
            });
        };
        let (width, device) = (first.0.dims()[1], first.0.device().without_autodiff());
        let mut moments = Moments::new(width);
        for (features, weights) in batches {
            moments.add(features, weights)?;
        }
        moments.whitening(shrinkage, &device)
    }

    /// A teacher's features, whitened along the last axis: f32 where they are in half precision,
    /// and outside any graph.
    ///
    /// # Panics
    ///
    /// If the width or the device is not that of the batches.
    pub fn apply<const D: usize>(&self, teacher: Tensor<D>) -> Tensor<D> {
        let shape = teacher.dims();
        let width = shape[D - 1];
        assert_eq!([width], self.mean.dims(), "the width differs");
        let teacher = widened(teacher.without_autodiff());
        let tokens = shape[..D - 1].iter().product::<usize>();
        let x = teacher.reshape([tokens, width]);
        // A frozen parameter of a trainee is on the trainee's autodiff device; features are not.
        let mean = in_format_of(self.mean.val().without_autodiff(), &x).unsqueeze::<2>();
        let inverse = in_format_of(self.inverse.val().without_autodiff(), &x);
        (x - mean).matmul(inverse.transpose()).reshape(shape)
    }
}

/// Mean and scatter of the tokens so far.
#[derive(Clone)]
pub(crate) struct Moments {
    width: usize,
    centring: Centring,
    /// Σ (x - mean)(x - mean)ᵀ, row after row.
    scatter: Vec<f64>,
}

impl Moments {
    pub(crate) fn new(width: usize) -> Self {
        Self {
            width,
            centring: Centring::default(),
            scatter: vec![0.0; width * width],
        }
    }

    pub(crate) fn add(
        &mut self,
        features: Tensor<2>,
        weights: Tensor<1>,
    ) -> Result<(), WhiteningError> {
        let ([tokens, got], expected) = (features.dims(), self.width);
        if got != expected {
            return Err(WhiteningError::Width { got, expected });
        }
        assert_eq!(weights.dims(), [tokens], "one weight a token");
        let counting = weights.without_autodiff().not_equal_scalar(0.0).argwhere();
        if counting.dims()[0] == 0 {
            return Ok(());
        }
        let features = features.without_autodiff();
        let features = features.select(0, counting.flatten(0, 1));
        let rows = self.centring.rows(features);
        let products = rows.clone().transpose().matmul(rows).into_data();
        for (sum, product) in self.scatter.iter_mut().zip(products.iter::<f64>()) {
            *sum += product;
        }
        Ok(())
    }

    /// See [`Whitening::of`].
    pub(crate) fn whitening(
        &self,
        shrinkage: f64,
        device: &Device,
    ) -> Result<Whitening, WhiteningError> {
        if !(0.0..=1.0).contains(&shrinkage) {
            return Err(WhiteningError::Shrinkage { got: shrinkage });
        }
        let width = self.width;
        let covariance = self.covariance(shrinkage)?;
        let lower =
            cholesky(covariance, width).map_err(|column| WhiteningError::NotDefinite { column })?;
        let inverse = inverse_of_lower(&lower, width);
        let narrow = |values: Vec<f64>| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let mean = narrow(self.centring.mean().expect("more tokens than the width"));
        let mean = Param::from_data(TensorData::new(mean, [width]), device);
        let inverse = TensorData::new(narrow(inverse), [width, width]);
        let inverse = Param::from_data(inverse, device);
        Ok(Whitening {
            mean: mean.set_require_grad(false),
            inverse: inverse.set_require_grad(false),
        })
    }

    fn covariance(&self, shrinkage: f64) -> Result<Vec<f64>, WhiteningError> {
        let (tokens, width) = (self.centring.tokens(), self.width);
        if tokens <= width {
            return Err(WhiteningError::TooFewTokens { tokens, width });
        }
        let share = (1.0 - shrinkage) / tokens as f64;
        let trace: f64 = self.scatter.iter().step_by(width + 1).sum();
        let mut covariance: Vec<f64> = self.scatter.iter().map(|x| x * share).collect();
        for x in covariance.iter_mut().step_by(width + 1) {
            *x += shrinkage * trace / (tokens * width) as f64;
        }
        Ok(covariance)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::filled;
    use super::super::testing::{largest, random, some_tokens};
    use super::*;
    use proptest::prelude::*;

    fn all(tokens: usize) -> Tensor<1> {
        crate::mean_over(&vec![true; tokens], &Device::default())
    }

    /// Features of which some columns follow others, with a mean.
    fn correlated(tokens: usize, width: usize, seed: u64) -> Tensor<2> {
        let mix =
            random([width, width], seed ^ 1) * 0.1 + Tensor::<2>::eye(width, &Device::default());
        random([tokens, width], seed).matmul(mix) * 10.0 + 30.0
    }

    proptest! {
        #[test]
        fn whitened_features_have_the_covariance_of_noise(seed in any::<u64>(), width in 1usize..20) {
            let x = correlated(200, width, seed);
            let part = |start, tokens| (x.clone().narrow(0, start, tokens), all(tokens));
            let parts = [part(0, 30), part(30, 1), part(31, 169)];
            let whitened = Whitening::of(parts, 1e-6).unwrap().apply(x);
            prop_assert!(largest(whitened.clone().mean_dim(0)) < 1e-2);
            let covariance = whitened.clone().transpose().matmul(whitened) / 200.0;
            prop_assert!(largest(covariance - Tensor::<2>::eye(width, &Device::default())) < 1e-2);
        }

        #[test]
        fn masked_tokens_change_nothing(seed in any::<u64>()) {
            let x = correlated(60, 4, seed);
            let weights = crate::mean_over(&some_tokens(60, seed), &x.device());
            let mask = weights.clone().equal_scalar(0.0).unsqueeze_dim::<2>(1);
            let nan = filled(x.clone(), mask, f64::NAN);
            let a = Whitening::of([(x.clone(), weights.clone())], 1e-3).unwrap().apply(x.clone());
            let b = Whitening::of([(nan, weights)], 1e-3).unwrap().apply(x);
            prop_assert_eq!(largest(a - b), 0.0);
        }
    }

    #[test]
    fn all_shrinkage_is_one_scale() {
        let x = Tensor::<2>::from_data(
            [[1f32, 0.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
            &Device::default(),
        );
        // The mean of the variances 1/2 and 0.
        let whitened = Whitening::of([(x.clone(), all(4))], 1.0)
            .unwrap()
            .apply(x.clone());
        assert!(largest(whitened - x * 2.0) < 1e-6);
    }

    #[test]
    fn what_can_not_be_whitened_is_an_error() {
        let of = |x: Tensor<2>, shrinkage| {
            let weights = all(x.dims()[0]);
            Whitening::of([(x, weights)], shrinkage).unwrap_err()
        };
        let few = WhiteningError::TooFewTokens {
            tokens: 4,
            width: 4,
        };
        assert_eq!(of(random([4, 4], 1), 1e-3), few);
        let device = Device::default();
        for x in [f32::NAN, f32::INFINITY, 1.0] {
            let constant = Tensor::<2>::full([9, 3], x, &device);
            assert_eq!(
                of(constant, 1e-3),
                WhiteningError::NotDefinite { column: 0 }
            );
        }
        assert_eq!(
            of(random([9, 3], 1), -1.0),
            WhiteningError::Shrinkage { got: -1.0 }
        );
        let batches = [3, 4].map(|width| (random([9, width], 1), all(9)));
        let error = Whitening::of(batches, 1e-3).unwrap_err();
        assert_eq!(
            error,
            WhiteningError::Width {
                got: 4,
                expected: 3
            }
        );
    }
}
