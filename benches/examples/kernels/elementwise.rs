//! Norms, activations and positions, at the widths of SmolLM2-135M and of GPT-2.

use crate::case::{Case, both_passes};
use crate::numbers::{leaf, numbers};
use burn::tensor::activation::{gelu_approximate, silu};
use burn::tensor::{Device, Tensor};
use distily::kernels::{gelu_tanh, layer_norm, rms_norm, rotary, silu_gate};

const TOKENS: usize = 512;
const EPSILON: f64 = 1e-5;
/// Batch, tokens, heads, width of a head.
const HEADS: [usize; 4] = [4, 128, 9, 64];

pub(crate) fn cases() -> impl Iterator<Item = Case> {
    let families = [norm(), centred_norm(), gate(), gelu(), turned()];
    families.into_iter().flatten()
}

fn upstream(width: usize) -> Tensor<2> {
    numbers([TOKENS, width], 9, 1.0, &Device::flex())
}

fn norm() -> [Case; 2] {
    const WIDTH: usize = 576;
    both_passes(
        "rms_norm",
        &format!("{TOKENS}x{WIDTH}"),
        |device| {
            (
                leaf([TOKENS, WIDTH], 1, 1.0, device),
                leaf([WIDTH], 2, 1.0, device),
            )
        },
        |(x, weight)| rms_norm(x, weight, EPSILON),
        |(x, weight): (Tensor<2>, Tensor<1>)| {
            let scale = x.clone().square().mean_dim(1).add_scalar(EPSILON).sqrt();
            x / scale * weight.unsqueeze()
        },
        &upstream(WIDTH),
    )
}

fn centred_norm() -> [Case; 2] {
    const WIDTH: usize = 768;
    both_passes(
        "layer_norm",
        &format!("{TOKENS}x{WIDTH}"),
        |device| {
            (
                leaf([TOKENS, WIDTH], 1, 1.0, device),
                (leaf([WIDTH], 2, 1.0, device), leaf([WIDTH], 3, 1.0, device)),
            )
        },
        |(x, (weight, bias))| layer_norm(x, weight, bias, EPSILON),
        |(x, (weight, bias)): (Tensor<2>, (Tensor<1>, Tensor<1>))| {
            let centred = x.clone() - x.mean_dim(1);
            let variance = centred.clone().square().mean_dim(1);
            let deviation = variance.add_scalar(EPSILON).sqrt();
            centred / deviation * weight.unsqueeze() + bias.unsqueeze()
        },
        &upstream(WIDTH),
    )
}

fn gate() -> [Case; 2] {
    const WIDTH: usize = 1536;
    both_passes(
        "silu_gate",
        &format!("{TOKENS}x{WIDTH}"),
        |device| {
            (
                leaf([TOKENS, WIDTH], 1, 3.0, device),
                leaf([TOKENS, WIDTH], 2, 1.0, device),
            )
        },
        |(gate, up)| silu_gate(gate, up),
        |(gate, up): (Tensor<2>, Tensor<2>)| silu(gate) * up,
        &upstream(WIDTH),
    )
}

fn gelu() -> [Case; 2] {
    const WIDTH: usize = 3072;
    both_passes(
        "gelu_tanh",
        &format!("{TOKENS}x{WIDTH}"),
        |device| leaf([TOKENS, WIDTH], 1, 3.0, device),
        gelu_tanh::<2>,
        gelu_approximate::<2>,
        &upstream(WIDTH),
    )
}

fn turned() -> [Case; 2] {
    let [batch, tokens, heads, width] = HEADS;
    let half = width / 2;
    let angles = numbers([1, tokens, half], 2, 3.0, &Device::flex());
    let (cos, sin) = (angles.clone().cos(), angles.sin());
    let of_composed = [&cos, &sin].map(|x| Tensor::from_inner(x.clone()).unsqueeze_dim::<4>(2));
    both_passes(
        "rotary",
        &format!("{batch}x{tokens}x{heads}x{width}"),
        |device| leaf(HEADS, 1, 1.0, device),
        move |x| rotary(x, cos.clone(), sin.clone()),
        move |x: Tensor<4>| {
            let [cos, sin] = of_composed.clone();
            let (first, second) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
            let turned = [
                first.clone() * cos.clone() - second.clone() * sin.clone(),
                second * cos + first * sin,
            ];
            Tensor::cat(turned.to_vec(), 3)
        },
        &numbers(HEADS, 9, 1.0, &Device::flex()),
    )
}
