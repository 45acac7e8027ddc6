use burn::tensor::Tensor;
use distily_kernels::widened;

/// Centres the tokens of a feature about the mean of all, though they come batch after batch.
///
/// Chan, Golub and LeVeque (1979) sum products about each batch's own mean, and correct the sum by
/// how far the means of what came before and of the batch lie apart. Here the correction is one
/// more row of the batch, so that products of rows, of one feature or of two, simply add up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Centring {
    tokens: usize,
    mean: Option<Tensor<2>>,
}

impl Centring {
    /// The next tokens `[tokens, width]`, at least one, as rows `[tokens + 1, width]`: f32 where
    /// they are in half precision, and outside any graph.
    pub(crate) fn rows(&mut self, x: Tensor<2>) -> Tensor<2> {
        let x = widened(x.without_autodiff());
        let (before, added) = (self.tokens as f64, x.dims()[0] as f64);
        self.tokens += x.dims()[0];
        let mean = x.clone().mean_dim(0);
        let x = x - mean.clone();
        // Twice: see `Rows::centred`.
        let rest = x.clone().mean_dim(0);
        let (x, mean) = (x - rest.clone(), mean + rest);

        let mean_before = self.mean.take().unwrap_or_else(|| mean.clone());
        let apart = mean - mean_before.clone();
        let share = added / (before + added);
        self.mean = Some(mean_before + apart.clone().mul_scalar(share));
        Tensor::cat(vec![x, apart.mul_scalar((before * share).sqrt())], 0)
    }

    /// Tokens so far.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Their mean, `[width]`; `None` before the first.
    pub(crate) fn mean(&self) -> Option<Vec<f64>> {
        let mean = self.mean.as_ref()?.to_data();
        Some(mean.iter::<f64>().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{largest, random};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_of_the_parts_add_up_to_that_of_the_whole(
            seed in any::<u64>(), parts in prop::collection::vec(1usize..9, 1..5),
        ) {
            let tokens = parts.iter().sum();
            // Far from 0, and drifting.
            let drift = Tensor::<1>::from_data(
                (0..tokens).map(|at| at as f32).collect::<Vec<_>>().as_slice(),
                &burn::tensor::Device::default(),
            );
            let (a, b) = (random([tokens, 3], seed) + 100.0, random([tokens, 2], seed ^ 1));
            let b = b + drift.unsqueeze_dim::<2>(1);
            let product = |a: Tensor<2>, b: Tensor<2>| a.transpose().matmul(b);
            let (mut of_a, mut of_b) = (Centring::default(), Centring::default());
            let (mut sum, mut start) = (Tensor::zeros([3, 2], &a.device()), 0);
            for part in parts {
                let rows = |of: &mut Centring, x: &Tensor<2>| of.rows(x.clone().narrow(0, start, part));
                sum = sum + product(rows(&mut of_a, &a), rows(&mut of_b, &b));
                start += part;
            }
            let whole = product(a.clone() - a.mean_dim(0), b.clone() - b.mean_dim(0));
            prop_assert!(largest(sum - whole.clone()) < 1e-4 * (1.0 + largest(whole)));
        }
    }
}
