use super::graph::record;
use super::lanes::sum;
use super::rows::{map_rows, pull_back_rows};
use super::tensors::{elements, flex, slice};
use burn::tensor::Tensor;

pub(crate) fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    let shape = x.dims();
    let width = shape[D - 1];
    let epsilon = epsilon as f32;
    let (input, w, b) = (elements(&x), elements(&weight), elements(&bias));
    let (weights, biases) = (slice(&w), slice(&b));
    let output = map_rows(
        &input,
        width,
        #[inline(always)]
        |x, output| {
            let (mean, inverse) = mean_and_inverse_deviation(x, epsilon);
            let width = output.len();
            let (x, w, b) = (&x[..width], &weights[..width], &biases[..width]);
            for i in 0..width {
                output[i] = (x[i] - mean) * inverse * w[i] + b[i];
            }
        },
    );
    record(
        flex(output, shape),
        [x, weight.unsqueeze(), bias.unsqueeze()].map(Tensor::into_dispatch),
        move |upstream| {
            let w = slice(&w);
            let (d_x, mut d_w) = pull_back_rows(
                &input,
                &upstream,
                width,
                2 * width,
                #[inline(always)]
                |x, upstream, d_x, sums| backward_of_row(x, w, upstream, epsilon, d_x, sums),
            );
            let d_b = d_w.split_off(width);
            let mut row = [1; D];
            row[D - 1] = width;
            vec![flex(d_x, shape), flex(d_w, row), flex(d_b, row)]
        },
    )
}

#[inline(always)]
fn mean_and_inverse_deviation(x: &[f32], epsilon: f32) -> (f32, f32) {
    let width = x.len() as f32;
    let mean = sum(
        [x],
        #[inline(always)]
        |[x]| x,
    ) / width;
    let variance = sum(
        [x],
        #[inline(always)]
        |[x]| (x - mean) * (x - mean),
    ) / width;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

/// dx = r (g - mean(g) - n mean(g n)), where r is the inverse deviation, n = r (x - mean(x)) and
/// g = upstream · w; the row's parts of dw and db, one after the other in `sums`, are upstream · n
/// and upstream.
#[inline(always)]
fn backward_of_row(
    x: &[f32],
    w: &[f32],
    upstream: &[f32],
    epsilon: f32,
    d_x: &mut [f32],
    sums: &mut [f32],
) {
    let width = x.len();
    let (w, upstream) = (&w[..width], &upstream[..width]);
    let (d_w, d_b) = sums.split_at_mut(width);
    let (d_x, d_b) = (&mut d_x[..width], &mut d_b[..width]);
    let (centre, inverse) = mean_and_inverse_deviation(x, epsilon);
    let mean = sum(
        [upstream, w],
        #[inline(always)]
        |[u, w]| u * w,
    ) / width as f32;
    let slope = sum(
        [upstream, w, x],
        #[inline(always)]
        |[u, w, x]| u * w * (x - centre),
    ) * inverse
        / width as f32;
    for i in 0..width {
        let normal = (x[i] - centre) * inverse;
        d_x[i] = inverse * (upstream[i] * w[i] - mean - normal * slope);
        d_w[i] += upstream[i] * normal;
        d_b[i] += upstream[i];
    }
}
