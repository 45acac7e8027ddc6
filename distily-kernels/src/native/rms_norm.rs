use super::graph::record;
use super::lanes::{sum, vectorized};
use super::tensors::{elements, flex, slice};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Rows that one core takes at a time, and that share one partial sum of the weight's gradient.
const ROWS: usize = 32;

pub(crate) fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let shape = x.dims();
    let width = shape[D - 1];
    let epsilon = epsilon as f32;
    let (input, w) = (elements(&x), elements(&weight));
    let mut output = vec![0.0; shape.iter().product()];
    output
        .par_chunks_mut(ROWS * width)
        .zip(slice(&input).par_chunks(ROWS * width))
        .for_each(|(output, input)| {
            let w = slice(&w);
            vectorized(|| {
                for (output, x) in output
                    .chunks_exact_mut(width)
                    .zip(input.chunks_exact(width))
                {
                    let inverse = inverse_rms(x, epsilon);
                    for ((output, &x), &w) in output.iter_mut().zip(x).zip(w) {
                        *output = x * inverse * w;
                    }
                }
            });
        });
    record(
        flex(output, shape),
        [x.into_dispatch(), weight.into_dispatch()],
        move |upstream| {
            let mut d_x = vec![0.0; shape.iter().product()];
            let chunks = d_x.len().div_ceil(ROWS * width);
            let mut partial = vec![0.0; chunks * width];
            d_x.par_chunks_mut(ROWS * width)
                .zip(partial.par_chunks_mut(width))
                .zip(slice(&input).par_chunks(ROWS * width))
                .zip(slice(&upstream).par_chunks(ROWS * width))
                .for_each(|(((d_x, d_w), input), upstream)| {
                    let w = slice(&w);
                    vectorized(|| {
                        let rows = input.chunks_exact(width).zip(upstream.chunks_exact(width));
                        for (d_x, (x, upstream)) in d_x.chunks_exact_mut(width).zip(rows) {
                            backward_of_row(x, w, upstream, epsilon, d_x, d_w);
                        }
                    });
                });
            let mut d_w = vec![0.0; width];
            for partial in partial.chunks_exact(width) {
                d_w.iter_mut()
                    .zip(partial)
                    .for_each(|(sum, part)| *sum += part);
            }
            vec![flex(d_x, shape), flex(d_w, [width])]
        },
    )
}

#[inline(always)]
fn inverse_rms(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (sum(x.len(), |i| x[i] * x[i]) / x.len() as f32 + epsilon).sqrt()
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
    let mean = sum(width, |i| upstream[i] * w[i] * x[i]) * inverse / width as f32;
    for i in 0..width {
        let normal = x[i] * inverse;
        d_x[i] = inverse * (upstream[i] * w[i] - normal * mean);
        d_w[i] += upstream[i] * normal;
    }
}
