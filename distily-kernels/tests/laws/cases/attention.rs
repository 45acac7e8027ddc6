use super::{Case, gradient, leaf, numbers, pulled_back};
use distily_kernels::{Segments, causal_attention};

/// Attention of the last `queries` tokens; `[batch, tokens, kv_heads, width]` are those of the keys.
/// Queries and keys are in [-`magnitude`, `magnitude`).
pub(crate) fn attention(
    key_shape: [usize; 4],
    queries: usize,
    group: usize,
    segments: Segments,
    seed: u64,
    magnitude: f32,
) -> Case {
    let [batch, _, kv_heads, width] = key_shape;
    let query_shape = [batch, queries, group * kv_heads, width];
    let query = numbers(query_shape, seed, magnitude);
    let key = numbers(key_shape, seed ^ 1, magnitude);
    let value = numbers(key_shape, seed ^ 2, 1.0);
    let upstream = numbers(query_shape, seed ^ 3, 1.0);
    let scale = 1.0 / (width as f64).sqrt();
    let magnitude = f64::from(magnitude);
    Case {
        name: format!("attention {query_shape:?} of {key_shape:?}"),
        run: Box::new(move |format| {
            let [query, key, value] = [&query, &key, &value].map(|x| leaf(x, format));
            let output =
                causal_attention(query.clone(), key.clone(), value.clone(), &segments, scale);
            let gradients = pulled_back(&output, &upstream);
            vec![
                output.into_data(),
                gradient(&query, &gradients),
                gradient(&key, &gradients),
                gradient(&value, &gradients),
            ]
        }),
        terms: vec![1.0, magnitude, magnitude, 1.0],
    }
}
