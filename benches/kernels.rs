//! Each operation of `distily-kernels`, forward and backward, against its composition of burn
//! operations on the same machine in the same run: `cargo bench -p distily-benches`.
//!
//! Shapes are those of SmolLM2-135M at 512 tokens.

use burn::tensor::activation::{log_softmax, silu, softmax};
use burn::tensor::{Bool, Device, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use distily::kernels::{
    Divergence, Segments, TrainingAllocator, causal_attention, divergence, rms_norm, silu_gate,
};
use distily_benches::tensor;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

const TOKENS: usize = 512;

/// A pass forward and a pass back.
fn both_ways<const D: usize>(output: Tensor<D>) {
    drop(output.sum().backward());
}

fn pair(c: &mut Criterion, name: &str, native: impl Fn(), composed: impl Fn()) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    group.bench_function("native", |b| b.iter(&native));
    group.bench_function("composed", |b| b.iter(&composed));
    group.finish();
}

fn kernels(c: &mut Criterion) {
    let device = Device::flex().autodiff();

    let gate = tensor([TOKENS, 1536], &device).require_grad();
    let up = tensor([TOKENS, 1536], &device).require_grad();
    pair(
        c,
        "silu_gate",
        || both_ways(silu_gate(gate.clone(), up.clone())),
        || both_ways(silu(gate.clone()) * up.clone()),
    );

    let x = tensor([TOKENS, 576], &device).require_grad();
    let weight = tensor([576], &device).require_grad();
    pair(
        c,
        "rms_norm",
        || both_ways(rms_norm(x.clone(), weight.clone(), 1e-5)),
        || {
            let scale = x.clone().square().mean_dim(1).add_scalar(1e-5).sqrt();
            both_ways(x.clone() / scale * weight.clone().unsqueeze());
        },
    );

    let query = tensor([1, TOKENS, 9, 64], &device).require_grad();
    let key = tensor([1, TOKENS, 3, 64], &device).require_grad();
    let value = tensor([1, TOKENS, 3, 64], &device).require_grad();
    let segments = Segments::new(vec![1; TOKENS], [1, TOKENS]);
    pair(
        c,
        "causal_attention",
        || {
            both_ways(causal_attention(
                query.clone(),
                key.clone(),
                value.clone(),
                &segments,
                0.125,
            ))
        },
        || {
            let heads = |tensor: &Tensor<4>| {
                let tensor = tensor.clone().swap_dims(1, 2).unsqueeze_dim::<5>(2);
                tensor
                    .expand([1, 3, 3, TOKENS, 64])
                    .reshape([1, 9, TOKENS, 64])
            };
            let scores = query
                .clone()
                .swap_dims(1, 2)
                .matmul(heads(&key).swap_dims(2, 3));
            let mask = Tensor::<2, Bool>::tril_mask([TOKENS, TOKENS], 0, &device);
            let mask = mask.unsqueeze::<4>().expand([1, 9, TOKENS, TOKENS]);
            let scores = scores.mul_scalar(0.125).mask_fill(mask, f32::NEG_INFINITY);
            both_ways(softmax(scores, 3).matmul(heads(&value)));
        },
    );

    let student = tensor([TOKENS, 49_152], &device).require_grad();
    let teacher = tensor([TOKENS, 49_152], &Device::flex());
    let weights = Tensor::<1>::full([TOKENS], 1.0 / TOKENS as f64, &Device::flex());
    pair(
        c,
        "forward_kl",
        || {
            let of = Divergence::ForwardKl;
            let loss = divergence(of, student.clone(), teacher.clone(), weights.clone(), 1.0);
            both_ways(loss.attached_to(student.clone()));
        },
        || {
            let log_p = log_softmax(teacher.clone(), 1);
            let log_q = log_softmax(student.clone(), 1);
            both_ways((log_p.clone().exp() * (log_p - log_q)).sum_dim(1) / TOKENS as f64);
        },
    );
}

criterion_group!(benches, kernels);
criterion_main!(benches);
