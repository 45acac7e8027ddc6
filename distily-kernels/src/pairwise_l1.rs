use crate::{in_format_of, widened};
use burn::tensor::Tensor;

/// The distances Σ_k |a_ik - b_jk| of every row of `a` to every row of `b`, outside any graph.
///
/// Shapes: `a` `[n, width]`, `b` `[m, width]`; the result is `[n, m]`, of f32 if `a` is of half
/// precision. It takes n · m · width steps and no memory beyond the result on a CPU, some 16 MiB
/// elsewhere: never `[n, m, width]`.
///
/// # Panics
///
/// If the widths differ.
pub fn pairwise_l1(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let (a, b) = both(a, b);
    #[cfg(feature = "flex")]
    if crate::native::serves(&a) {
        return crate::native::pairwise_l1(a, b);
    }
    composed(a, b)
}

/// The gradient of Σ_ij `upstream`_ij · [`pairwise_l1`]`(a, b)`_ij with respect to `a`, outside any
/// graph: Σ_j upstream_ij · sign(a_ik - b_jk), where what is equal has no sign. That with respect
/// to `b` is the same with both sides, and upstream, turned.
///
/// Shapes: those of [`pairwise_l1`], `upstream` `[n, m]`; the result is `[n, width]`.
///
/// # Panics
///
/// If the shapes differ.
pub fn pairwise_l1_gradient(a: Tensor<2>, b: Tensor<2>, upstream: Tensor<2>) -> Tensor<2> {
    let (a, b) = both(a, b);
    assert_eq!(
        upstream.dims(),
        [a.dims()[0], b.dims()[0]],
        "one number a pair"
    );
    let upstream = in_format_of(upstream.without_autodiff(), &a);
    #[cfg(feature = "flex")]
    if crate::native::serves(&a) {
        return crate::native::pairwise_l1_gradient(a, b, upstream);
    }
    composed_gradient(a, b, upstream)
}

fn both(a: Tensor<2>, b: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    assert_eq!(a.dims()[1], b.dims()[1], "the widths differ");
    let a = widened(a.without_autodiff());
    let b = in_format_of(b.without_autodiff(), &a);
    (a, b)
}

fn composed(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let distances = in_format_of(Tensor::zeros([a.dims()[0], b.dims()[0]], &a.device()), &a);
    differences(a, b).fold(distances, |distances, difference| {
        distances + difference.abs().sum_dim(2).squeeze_dim(2)
    })
}

fn composed_gradient(a: Tensor<2>, b: Tensor<2>, upstream: Tensor<2>) -> Tensor<2> {
    let upstream = upstream.unsqueeze_dim::<3>(2);
    let blocks = differences(a, b).map(|difference| {
        (difference.sign() * upstream.clone())
            .sum_dim(1)
            .squeeze_dim(1)
    });
    Tensor::cat(blocks.collect(), 1)
}

/// Elements of the differences that are held at a time.
const HELD: usize = 4 << 20;

/// a_ik - b_jk, `[n, m, columns]`, for one block of columns after the other.
fn differences(a: Tensor<2>, b: Tensor<2>) -> impl Iterator<Item = Tensor<3>> {
    let ([n, width], [m, _]) = (a.dims(), b.dims());
    let block = (HELD / (n * m).max(1)).max(1);
    (0..width).step_by(block).map(move |start| {
        let columns = |x: &Tensor<2>| x.clone().narrow(1, start, block.min(width - start));
        columns(&a).unsqueeze_dim::<3>(1) - columns(&b).unsqueeze_dim::<3>(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_within, logits};
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_agree(
            n in 1usize..40, m in 1usize..20, width in 1usize..700, seed in any::<u64>(),
        ) {
            let (a, b) = (logits([n, width], seed, 1.0), logits([m, width], seed ^ 1, 1.0));
            let upstream = logits([n, m], seed ^ 2, 1.0);
            assert_close(
                pairwise_l1(a.clone(), b.clone()).into_data(),
                composed(a.clone(), b.clone()).into_data(),
                1.0,
            );
            assert_close(
                pairwise_l1_gradient(a.clone(), b.clone(), upstream.clone()).into_data(),
                composed_gradient(a, b, upstream).into_data(),
                m as f32,
            );
        }
    }

    #[test]
    fn the_numbers_of_a_known_example() {
        let device = Device::flex();
        let a = Tensor::<2>::from_data([[1.0, 2.0, -1.0], [0.0, 0.0, 4.0]], &device);
        let b = Tensor::<2>::from_data([[1.0, 0.0, 0.0]], &device);
        let upstream = Tensor::<2>::from_data([[2.0], [-3.0]], &device);
        for form in [pairwise_l1, composed] {
            let distances = form(a.clone(), b.clone()).into_data();
            assert_within(distances, TensorData::from([[3.0f32], [5.0]]), 0.0);
        }
        for form in [pairwise_l1_gradient, composed_gradient] {
            let gradient = form(a.clone(), b.clone(), upstream.clone()).into_data();
            let expected = TensorData::from([[0.0f32, 2.0, -2.0], [3.0, 0.0, -3.0]]);
            assert_within(gradient, expected, 0.0);
        }
    }

    /// More pairs than are held at a time, so that a block is one column.
    #[test]
    fn blocks_of_the_composed_form_are_put_together() {
        let (a, b) = (logits([2048, 3], 1, 1.0), logits([1025, 3], 2, 1.0));
        const { assert!(2048 * 1025 * 3 > HELD) };
        let upstream = logits([2048, 1025], 3, 1.0);
        let native = pairwise_l1(a.clone(), b.clone()).into_data();
        assert_close(composed(a.clone(), b.clone()).into_data(), native, 1.0);
        let native = pairwise_l1_gradient(a.clone(), b.clone(), upstream.clone()).into_data();
        assert_close(
            composed_gradient(a, b, upstream).into_data(),
            native,
            1025.0,
        );
    }
}
