use super::graph::record;
use super::lanes::sum;
use super::rows::{map_rows, pull_back_rows};
use super::tensors::{elements, flex, slice};
use burn::tensor::Tensor;

pub(crate) fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let shape = x.dims();
    let width = shape[D - 1];
    let epsilon = epsilon as f32;
    let (input, w) = (elements(&x), elements(&weight));
    let weights = slice(&w);
    let output = map_rows(
        &input,
        width,
        #[inline(always)]
        |x, output| {
            let inverse = inverse_rms(x, epsilon);
            for ((output, &x), &w) in output.iter_mut().zip(x).zip(weights) {
                *output = x * inverse * w;
            }
        },
    );
    record(
        flex(output, shape),
        [x.into_dispatch(), weight.into_dispatch()],
        move |upstream| {
            let w = slice(&w);
            let (d_x, d_w) = pull_back_rows(
                &input,
                &upstream,
                width,
                width,
                #[inline(always)]
                |x, upstream, d_x, d_w| backward_of_row(x, w, upstream, epsilon, d_x, d_w),
            );
            vec![flex(d_x, shape), flex(d_w, [width])]
        },
    )
}

#[inline(always)]
fn inverse_rms(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (sum(
        [x],
        #[inline(always)]
        |[x]| x * x,
    ) / x.len() as f32
        + epsilon)
        .sqrt()
}

/// dx = r (g - n mean(g n)), where r is the inverse rms, n = r x and g = upstream · w; the row's
/// part of dw is upstream · n.
#[inline(always)]
fn backward_of_row(
    x: &[f32],
    w: &[f32],
    upstream: &[f32],
    epsilon: f32,
    d_x: &mut [f32],
    d_w: &mut [f32],
) {
    let width = x.len();
    let (w, upstream) = (&w[..width], &upstream[..width]);
    let (d_x, d_w) = (&mut d_x[..width], &mut d_w[..width]);
    let inverse = inverse_rms(x, epsilon);
    let mean = sum(
        [upstream, w, x],
        #[inline(always)]
        |[u, w, x]| u * w * x,
    ) * inverse
        / width as f32;
    for i in 0..width {
        let normal = x[i] * inverse;
        d_x[i] = inverse * (upstream[i] * w[i] - normal * mean);
        d_w[i] += upstream[i] * normal;
    }
}
