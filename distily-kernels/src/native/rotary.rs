use super::graph::record;
use super::lanes::vectorized;
use super::tensors::{elements, flex, slice};
use super::unwritten::Unwritten;
use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use rayon::prelude::*;

pub(crate) fn rotary(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    let shape = x.dims();
    let shared = cos.dims()[0] == 1;
    let (cos, sin) = (elements(&cos), elements(&sin));
    let output = turn(&elements(&x), &cos, &sin, shape, shared, 1.0);
    record(output, [x.into_dispatch()], move |upstream| {
        // The inverse of a rotation turns the other way.
        vec![turn(&upstream, &cos, &sin, shape, shared, -1.0)]
    })
}

/// Turns each pair by `direction` times its angle.
fn turn(
    x: &FlexTensor,
    cos: &FlexTensor,
    sin: &FlexTensor,
    shape: [usize; 4],
    shared: bool,
    direction: f32,
) -> FlexTensor {
    let [batch, seq, heads, width] = shape;
    let half = cos.shape()[2];
    let (cos, sin) = (slice(cos), slice(sin));
    let mut output = Unwritten::new(batch * seq * heads * width);
    output
        .par_chunks_mut(heads * width)
        .with_min_len(16)
        .zip(slice(x).par_chunks(heads * width))
        .enumerate()
        .for_each(|(token, (output, x))| {
            let at = if shared { token % seq } else { token } * half;
            let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
            vectorized!({
                for (output, x) in output.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let (first, second) = x.split_at(half);
                    let (out_first, out_second) = output.split_at_mut(half);
                    out_second[half..].copy_from_slice(&second[half..]);
                    for i in 0..half {
                        let sin = direction * sin[i];
                        out_first[i] = first[i] * cos[i] - second[i] * sin;
                        out_second[i] = second[i] * cos[i] + first[i] * sin;
                    }
                }
            });
        });
    flex(output.into_vec(), shape)
}
