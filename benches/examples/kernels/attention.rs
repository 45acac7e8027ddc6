use crate::case::{Case, both_passes};
use crate::numbers::{leaf, numbers};
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Tensor};
use distily::kernels::{Segments, causal_attention};

const WIDTH: usize = 64;

/// Batch, tokens, query heads, key heads: GPT-2's, SmolLM2-135M's, and those of a long sequence.
const SHAPES: [[usize; 4]; 3] = [[4, 128, 12, 12], [4, 128, 9, 3], [1, 1024, 9, 3]];

pub(crate) fn cases() -> impl Iterator<Item = Case> {
    SHAPES
        .into_iter()
        .flat_map(|[batch, tokens, heads, kv_heads]| {
            let scale = 1.0 / (WIDTH as f64).sqrt();
            let query = [batch, tokens, heads, WIDTH];
            let key = [batch, tokens, kv_heads, WIDTH];
            let segments = Segments::new(vec![1; batch * tokens], [batch, tokens]);
            both_passes(
                "causal_attention",
                &format!("{batch}x{tokens}x{heads}/{kv_heads}x{WIDTH}"),
                |device| {
                    let leaf = |shape, seed| leaf(shape, seed, 1.0, device);
                    (leaf(query, 1), (leaf(key, 2), leaf(key, 3)))
                },
                move |(query, (key, value))| causal_attention(query, key, value, &segments, scale),
                move |(query, (key, value))| {
                    let by_head = |tensor: Tensor<4>| {
                        let group = heads / kv_heads;
                        let tensor = tensor.swap_dims(1, 2);
                        if group == 1 {
                            return tensor;
                        }
                        tensor
                            .unsqueeze_dim::<5>(2)
                            .expand([batch, kv_heads, group, tokens, WIDTH])
                            .reshape([batch, heads, tokens, WIDTH])
                    };
                    let scores = query.swap_dims(1, 2).matmul(by_head(key).swap_dims(2, 3));
                    let mask = Tensor::<2, Bool>::tril_mask([tokens, tokens], 0, &scores.device());
                    let mask = mask.unsqueeze::<4>().expand([batch, heads, tokens, tokens]);
                    let scores = scores.mul_scalar(scale).mask_fill(mask, f32::NEG_INFINITY);
                    softmax(scores, 3).matmul(by_head(value)).swap_dims(1, 2)
                },
                &numbers(query, 4, 1.0, &Device::flex()),
            )
        })
}
