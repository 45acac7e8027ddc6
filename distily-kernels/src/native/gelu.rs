use super::graph::record;
use super::lanes::{sigmoid, vectorized};
use super::tensors::{elements, flex, slice};
use super::unwritten::Unwritten;
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Elements that one core takes at a time: 64 KiB.
const CHUNK: usize = 16 * 1024;

/// 2 sqrt(2 / pi).
const FACTOR: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;

// 0.5 (1 + tanh(u)) is sigmoid(2 u), so the activation is x · sigmoid(v) with v = 2 u.
pub(crate) fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let shape = x.dims();
    let input = elements(&x);
    let mut output = Unwritten::new(shape.iter().product());
    output
        .par_chunks_mut(CHUNK)
        .zip(slice(&input).par_chunks(CHUNK))
        .for_each(|(output, input)| {
            vectorized!({
                for (output, &x) in output.iter_mut().zip(input) {
                    *output = x * sigmoid(FACTOR * x * (1.0 + CUBIC * x * x));
                }
            });
        });
    record(
        flex(output.into_vec(), shape),
        [x.into_dispatch()],
        move |upstream| {
            let mut d_x = Unwritten::new(shape.iter().product());
            d_x.par_chunks_mut(CHUNK)
                .zip(slice(&input).par_chunks(CHUNK))
                .zip(slice(&upstream).par_chunks(CHUNK))
                .for_each(|((d_x, input), upstream)| {
                    vectorized!({
                        for i in 0..d_x.len() {
                            let x = input[i];
                            let s = sigmoid(FACTOR * x * (1.0 + CUBIC * x * x));
                            // Far from 0, where the slope of v is large, 1 - s or s is 0 first.
                            let slope = FACTOR * (1.0 + 3.0 * CUBIC * x * x);
                            d_x[i] = upstream[i] * (s + x * (s * (1.0 - s)) * slope);
                        }
                    });
                });
            vec![flex(d_x.into_vec(), shape)]
        },
    )
}
