use super::graph::record;
use super::lanes::{sigmoid, vectorized};
use super::tensors::{elements, flex, slice};
use super::unwritten::Unwritten;
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Elements that one core takes at a time: 64 KiB of each input.
const CHUNK: usize = 16 * 1024;

pub(crate) fn silu_gate<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    let shape = gate.dims();
    let (g, u) = (elements(&gate), elements(&up));
    let mut output = Unwritten::new(shape.iter().product());
    output
        .par_chunks_mut(CHUNK)
        .zip(slice(&g).par_chunks(CHUNK))
        .zip(slice(&u).par_chunks(CHUNK))
        .for_each(|((output, g), u)| {
            vectorized!({
                for ((output, &g), &u) in output.iter_mut().zip(g).zip(u) {
                    *output = g * sigmoid(g) * u;
                }
            });
        });
    record(
        flex(output.into_vec(), shape),
        [gate.into_dispatch(), up.into_dispatch()],
        move |upstream| {
            let new = || Unwritten::new(shape.iter().product());
            let (mut d_gate, mut d_up) = (new(), new());
            d_gate
                .par_chunks_mut(CHUNK)
                .zip(d_up.par_chunks_mut(CHUNK))
                .zip(slice(&g).par_chunks(CHUNK).zip(slice(&u).par_chunks(CHUNK)))
                .zip(slice(&upstream).par_chunks(CHUNK))
                .for_each(|(((d_gate, d_up), (g, u)), upstream)| {
                    vectorized!({
                        for i in 0..d_gate.len() {
                            let s = sigmoid(g[i]);
                            d_up[i] = upstream[i] * g[i] * s;
                            d_gate[i] = upstream[i] * u[i] * s * (1.0 + g[i] * (1.0 - s));
                        }
                    });
                });
            [d_gate, d_up].map(|d| flex(d.into_vec(), shape)).into()
        },
    )
}
