//! Attention a block of queries at a time: a block's scores are computed, used and forgotten, in
//! the backward pass once more.

use super::graph::record;
use super::lanes::{exp, max, sum, vectorized};
use super::matrix::{Destination, Matrix, multiply};
use super::tensors::{elements, flex, slice};
use super::unwritten::Unwritten;
use crate::Segments;
use burn::tensor::Tensor;
use rayon::prelude::*;
use std::collections::HashMap;

/// Queries in a block: enough for the matrix product to run at its speed, and few enough for the
/// scores of a long sequence to stay in the cache.
const BLOCK: usize = 64;

/// The sizes of one call.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    queries: usize,
    seq: usize,
    heads: usize,
    kv_heads: usize,
    width: usize,
    scale: f32,
}

impl Sizes {
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// A head of a `[batch, tokens, heads, width]` tensor as a matrix `[tokens, width]`.
    fn head<'a>(
        &self,
        data: &'a [f32],
        (row, head): (usize, usize),
        (tokens, heads): (usize, usize),
        range: std::ops::Range<usize>,
    ) -> Matrix<'a> {
        let stride = heads * self.width;
        let start = (row * tokens + range.start) * stride + head * self.width;
        Matrix::new(&data[start..], range.len(), self.width, stride)
    }

    fn query<'a>(
        &self,
        data: &'a [f32],
        at: (usize, usize),
        range: std::ops::Range<usize>,
    ) -> Matrix<'a> {
        self.head(data, at, (self.queries, self.heads), range)
    }

    fn key<'a>(
        &self,
        data: &'a [f32],
        at: (usize, usize),
        range: std::ops::Range<usize>,
    ) -> Matrix<'a> {
        self.head(data, at, (self.seq, self.kv_heads), range)
    }
}

/// What each token of a row sees.
struct Sight<'a> {
    row: &'a [u32],
    /// The first token that each token sees.
    first: Vec<usize>,
}

impl<'a> Sight<'a> {
    fn new(row: &'a [u32], window: usize) -> Self {
        let mut starts = HashMap::new();
        let first = row.iter().enumerate().map(|(t, &segment)| {
            if segment == 0 {
                t
            } else {
                let start = *starts.entry(segment).or_insert(t);
                start.max((t + 1).saturating_sub(window))
            }
        });
        Self {
            first: first.collect(),
            row,
        }
    }

    /// From the scores of a block of tokens with the tokens `from..`, in place, to its weights.
    fn weigh(&self, scores: &mut [f32], tokens: std::ops::Range<usize>, from: usize) {
        let keys = tokens.end - from;
        for (scores, t) in scores.chunks_exact_mut(keys).zip(tokens) {
            let (unseen, rest) = scores.split_at_mut(self.first[t] - from);
            let (seen, future) = rest.split_at_mut(t + 1 - self.first[t]);
            unseen.fill(0.0);
            future.fill(0.0);
            for (score, s) in seen.iter_mut().zip(self.first[t]..) {
                if !Segments::sees(self.row, t, s) {
                    *score = f32::NEG_INFINITY;
                }
            }
            vectorized!({
                let highest = max(seen);
                for score in seen.iter_mut() {
                    *score = exp(*score - highest);
                }
                let inverse = 1.0
                    / sum(
                        [seen],
                        #[inline(always)]
                        |[weight]| weight,
                    );
                seen.iter_mut().for_each(|weight| *weight *= inverse);
            });
        }
    }

    /// The blocks of queries, each as (queries, tokens, first token that any of them sees).
    fn blocks(
        &self,
        sizes: Sizes,
    ) -> impl Iterator<Item = (std::ops::Range<usize>, std::ops::Range<usize>, usize)> + '_ {
        let before = sizes.seq - sizes.queries;
        (0..sizes.queries).step_by(BLOCK).map(move |start| {
            let queries = start..sizes.queries.min(start + BLOCK);
            let tokens = before + queries.start..before + queries.end;
            let from = self.first[tokens.clone()].iter().copied().min();
            let from = from.unwrap_or(tokens.start);
            (queries, tokens, from)
        })
    }
}

fn sights(segments: &Segments) -> Vec<Sight<'_>> {
    segments
        .rows()
        .map(|row| Sight::new(row, segments.window()))
        .collect()
}

pub(crate) fn causal_attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    segments: &Segments,
    scale: f64,
) -> Tensor<4> {
    let [batch, queries, heads, width] = query.dims();
    let [_, seq, kv_heads, _] = key.dims();
    let sizes = Sizes {
        batch,
        queries,
        seq,
        heads,
        kv_heads,
        width,
        scale: scale as f32,
    };
    let (q, k, v) = (elements(&query), elements(&key), elements(&value));
    let output = forward(sizes, slice(&q), slice(&k), slice(&v), segments);
    let segments = segments.clone();
    let inputs = [query, key, value].map(Tensor::into_dispatch);
    record(flex(output, query_shape(sizes)), inputs, move |upstream| {
        let [d_q, d_k, d_v] = backward(
            sizes,
            [slice(&q), slice(&k), slice(&v), slice(&upstream)],
            &segments,
        );
        vec![
            flex(d_q, query_shape(sizes)),
            flex(d_k, key_shape(sizes)),
            flex(d_v, key_shape(sizes)),
        ]
    })
}

fn query_shape(sizes: Sizes) -> [usize; 4] {
    [sizes.batch, sizes.queries, sizes.heads, sizes.width]
}

fn key_shape(sizes: Sizes) -> [usize; 4] {
    [sizes.batch, sizes.seq, sizes.kv_heads, sizes.width]
}

fn forward(sizes: Sizes, q: &[f32], k: &[f32], v: &[f32], segments: &Segments) -> Vec<f32> {
    let sights = sights(segments);
    let heads: Vec<Vec<f32>> = (0..sizes.batch * sizes.heads)
        .into_par_iter()
        .map(|task| {
            let (row, head) = (task / sizes.heads, task % sizes.heads);
            let kv = (row, head / sizes.group());
            let sight = &sights[row];
            let mut output = vec![0.0; sizes.queries * sizes.width];
            let mut weights = Vec::new();
            for (queries, tokens, from) in sight.blocks(sizes) {
                let keys = from..tokens.end;
                weights.resize(queries.len() * keys.len(), 0.0);
                let block = sizes.query(q, (row, head), queries.clone());
                let key = sizes.key(k, kv, keys.clone());
                multiply(
                    &mut weights,
                    Destination::Overwrite,
                    sizes.scale,
                    block,
                    key.transposed(),
                );
                sight.weigh(&mut weights, tokens, from);
                multiply(
                    &mut output[queries.start * sizes.width..queries.end * sizes.width],
                    Destination::Overwrite,
                    1.0,
                    Matrix::new(&weights, queries.len(), keys.len(), keys.len()),
                    sizes.key(v, kv, keys.clone()),
                );
            }
            output
        })
        .collect();
    interleave(&heads, sizes.queries, sizes.heads, sizes.width)
}

/// With P the weights and upstream gradients dO: dV = Pᵀ dO, dS = P ∘ (dO Vᵀ - rowsum(P ∘ dO Vᵀ)),
/// dQ = scale · dS K, dK = scale · dSᵀ Q.
fn backward(sizes: Sizes, [q, k, v, upstream]: [&[f32]; 4], segments: &Segments) -> [Vec<f32>; 3] {
    let sights = sights(segments);
    let group = sizes.group();
    // A key head gathers from all query heads of its group, so one task has the whole group.
    let groups: Vec<[Vec<Vec<f32>>; 3]> = (0..sizes.batch * sizes.kv_heads)
        .into_par_iter()
        .map(|task| {
            let kv @ (row, kv_head) = (task / sizes.kv_heads, task % sizes.kv_heads);
            let sight = &sights[row];
            let width = sizes.width;
            let mut d_q = vec![vec![0.0; sizes.queries * width]; group];
            let mut d_k = vec![0.0; sizes.seq * width];
            let mut d_v = vec![0.0; sizes.seq * width];
            let (mut weights, mut d_scores) = (Vec::new(), Vec::new());
            for (d_q, head) in d_q.iter_mut().zip(kv_head * group..) {
                for (queries, tokens, from) in sight.blocks(sizes) {
                    let keys = from..tokens.end;
                    weights.resize(queries.len() * keys.len(), 0.0);
                    d_scores.resize(queries.len() * keys.len(), 0.0);
                    let block = sizes.query(q, (row, head), queries.clone());
                    let d_out = sizes.query(upstream, (row, head), queries.clone());
                    let key = sizes.key(k, kv, keys.clone());
                    let value = sizes.key(v, kv, keys.clone());
                    let key_rows = keys.start * width..keys.end * width;

                    multiply(
                        &mut weights,
                        Destination::Overwrite,
                        sizes.scale,
                        block,
                        key.transposed(),
                    );
                    sight.weigh(&mut weights, tokens, from);
                    let p = Matrix::new(&weights, queries.len(), keys.len(), keys.len());
                    multiply(
                        &mut d_v[key_rows.clone()],
                        Destination::Add,
                        1.0,
                        p.transposed(),
                        d_out,
                    );
                    multiply(
                        &mut d_scores,
                        Destination::Overwrite,
                        1.0,
                        d_out,
                        value.transposed(),
                    );
                    through_softmax(&mut d_scores, &weights, keys.len());
                    let d_s = Matrix::new(&d_scores, queries.len(), keys.len(), keys.len());
                    let query_rows = queries.start * width..queries.end * width;
                    multiply(
                        &mut d_q[query_rows],
                        Destination::Overwrite,
                        sizes.scale,
                        d_s,
                        key,
                    );
                    multiply(
                        &mut d_k[key_rows],
                        Destination::Add,
                        sizes.scale,
                        d_s.transposed(),
                        block,
                    );
                }
            }
            [d_q, vec![d_k], vec![d_v]]
        })
        .collect();
    let (mut d_q, mut d_k, mut d_v) = (Vec::new(), Vec::new(), Vec::new());
    for [group_q, group_k, group_v] in groups {
        d_q.extend(group_q);
        d_k.extend(group_k);
        d_v.extend(group_v);
    }
    [
        interleave(&d_q, sizes.queries, sizes.heads, sizes.width),
        interleave(&d_k, sizes.seq, sizes.kv_heads, sizes.width),
        interleave(&d_v, sizes.seq, sizes.kv_heads, sizes.width),
    ]
}

/// From the gradient of the weights to that of the scores, in place.
fn through_softmax(gradient: &mut [f32], weights: &[f32], keys: usize) {
    for (gradient, weights) in gradient
        .chunks_exact_mut(keys)
        .zip(weights.chunks_exact(keys))
    {
        vectorized!({
            let mean = sum(
                [gradient, weights],
                #[inline(always)]
                |[g, w]| g * w,
            );
            for (gradient, weight) in gradient.iter_mut().zip(weights) {
                *gradient = weight * (*gradient - mean);
            }
        });
    }
}

/// From one `[tokens, width]` for each row and head to `[batch, tokens, heads, width]`.
fn interleave(parts: &[Vec<f32>], tokens: usize, heads: usize, width: usize) -> Vec<f32> {
    let mut whole = Unwritten::new(parts.len() * tokens * width);
    whole
        .par_chunks_mut(heads * width)
        .with_min_len(64)
        .enumerate()
        .for_each(|(at, output)| {
            let (row, token) = (at / tokens, at % tokens);
            for (head, output) in output.chunks_exact_mut(width).enumerate() {
                let part = &parts[row * heads + head];
                output.copy_from_slice(&part[token * width..(token + 1) * width]);
            }
        });
    whole.into_vec()
}
