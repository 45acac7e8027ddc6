use crate::{Segments, in_format_of};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

/// Causal scaled dot-product attention within segments, with grouped-query heads: query head `h`
/// reads key and value head `h / (heads / kv_heads)` (Ainslie et al., 2305.13245).
///
/// Shapes: `query` `[batch, queries, heads, head_width]`; `key` and `value`
/// `[batch, seq, kv_heads, head_width]`; `segments` `[batch, seq]`. The queries are the last
/// `queries` of the `seq` tokens: all of them in training, the new ones when generating from a
/// cache. The result is as `query`.
///
/// The native form keeps no `[queries, seq]` matrix between the passes.
///
/// # Panics
///
/// If the shapes do not fit.
pub fn causal_attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    segments: &Segments,
    scale: f64,
) -> Tensor<4> {
    check(&query, &key, segments);
    assert_eq!(key.dims(), value.dims(), "keys and values differ in shape");
    let (key, value) = (in_format_of(key, &query), in_format_of(value, &query));
    #[cfg(feature = "flex")]
    if crate::native::serves(&query) {
        return crate::native::causal_attention(query, key, value, segments, scale);
    }
    composed(query, key, value, segments, scale)
}

/// The attention weights, `[batch, heads, queries, seq]`, of [`causal_attention`].
///
/// # Panics
///
/// If the shapes do not fit.
pub fn attention_weights(
    query: Tensor<4>,
    key: Tensor<4>,
    segments: &Segments,
    scale: f64,
) -> Tensor<4> {
    check(&query, &key, segments);
    let [_, queries, heads, _] = query.dims();
    let query = query.mul_scalar(scale).swap_dims(1, 2);
    let key = by_head(key, heads).swap_dims(2, 3);
    let scores = query.matmul(key);
    let mask = segments
        .hidden_from(queries, &scores.device())
        .expand(scores.shape());
    softmax(scores.mask_fill(mask, f32::NEG_INFINITY), 3)
}

/// What [`causal_attention`] makes of its weights: from `weights` `[batch, heads, queries, seq]`
/// and `value` `[batch, seq, kv_heads, head_width]` to `[batch, queries, heads, head_width]`.
///
/// # Panics
///
/// If the shapes do not fit.
pub fn weighted_values(weights: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    let heads = weights.dims()[1];
    weights.matmul(by_head(value, heads)).swap_dims(1, 2)
}

fn composed(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    segments: &Segments,
    scale: f64,
) -> Tensor<4> {
    weighted_values(attention_weights(query, key, segments, scale), value)
}

fn check(query: &Tensor<4>, key: &Tensor<4>, segments: &Segments) {
    let [batch, queries, heads, width] = query.dims();
    let [key_batch, seq, kv_heads, key_width] = key.dims();
    assert_eq!([batch, width], [key_batch, key_width], "query and key");
    assert_eq!(segments.shape(), [batch, seq], "the segments do not fit");
    assert!(queries <= seq, "more queries than tokens");
    assert!(heads % kv_heads == 0, "heads are not groups of kv_heads");
}

/// `[batch, seq, kv_heads, width]` to `[batch, heads, seq, width]`, each head repeated for its
/// group.
fn by_head(tensor: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, seq, kv_heads, width] = tensor.dims();
    let tensor = tensor.swap_dims(1, 2);
    if heads == kv_heads {
        return tensor;
    }
    let group = heads / kv_heads;
    tensor
        .unsqueeze_dim::<5>(2)
        .expand([batch, kv_heads, group, seq, width])
        .reshape([batch, heads, seq, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, leaf};
    use proptest::prelude::*;

    /// Rows of documents and padding, from a seed.
    fn segments(batch: usize, seq: usize, seed: u64) -> Segments {
        let noise = crate::testing::noise(batch * seq, seed ^ 99);
        let mut ids = Vec::new();
        for row in noise.chunks(seq) {
            let mut id = 1;
            for &x in row {
                id += u32::from(x > 0.6);
                ids.push(if x < -0.8 { 0 } else { id });
            }
        }
        Segments::new(ids, [batch, seq])
    }

    proptest! {
        #[test]
        fn both_forms_agree(
            batch in 1usize..3, seq in 1usize..150, kv_heads in 1usize..3, group in 1usize..4,
            width in 1usize..20, seed in any::<u64>(), packed in any::<bool>(),
            skip in 0usize..150, window in prop_oneof![Just(usize::MAX), 1usize..100],
        ) {
            let queries = seq - skip.min(seq - 1);
            let query = leaf([batch, queries, kv_heads * group, width], seed, 2.0);
            let key = leaf([batch, seq, kv_heads, width], seed ^ 1, 2.0);
            let value = leaf([batch, seq, kv_heads, width], seed ^ 2, 2.0);
            let mix = leaf([batch, queries, kv_heads * group, width], seed ^ 3, 1.0).detach();
            let segments = if packed {
                segments(batch, seq, seed)
            } else {
                Segments::new(vec![1; batch * seq], [batch, seq])
            }
            .within(window);
            let [native, composed] = [causal_attention, composed].map(|form| {
                let out = form(query.clone(), key.clone(), value.clone(), &segments, 0.7);
                let gradients = (out.clone() * mix.clone()).sum().backward();
                [
                    out.inner(),
                    query.grad(&gradients).unwrap(),
                    key.grad(&gradients).unwrap(),
                    value.grad(&gradients).unwrap(),
                ]
            });
            for (native, composed) in native.into_iter().zip(composed) {
                assert_close(native.into_data(), composed.into_data(), 3.0);
            }
        }
    }
}
