//! Products with a weight: of a layer, and of a head that is tied to an embedding.

use crate::case::{Case, both_passes};
use crate::numbers::{leaf, numbers};
use burn::tensor::{Device, Tensor, module};
use distily::kernels::linear;

const WIDTH: usize = 576;

pub(crate) fn cases() -> impl Iterator<Item = Case> {
    // A feed-forward layer of SmolLM2-135M, and its head over a part of a row.
    let layer = both_passes(
        "linear",
        "4x128x576 to 1536",
        |device| {
            (
                leaf([4, 128, WIDTH], 1, 1.0, device),
                leaf([WIDTH, 1536], 2, 0.1, device),
            )
        },
        |(x, weight)| linear(x, weight, None),
        |(x, weight): (Tensor<3>, Tensor<2>)| module::linear(x, weight, None),
        &numbers([4, 128, 1536], 9, 1.0, &Device::flex()),
    );
    let head = both_passes(
        "linear",
        "1x64x576 to 49152, by vocabulary",
        |device| {
            (
                leaf([1, 64, WIDTH], 1, 1.0, device),
                leaf([49152, WIDTH], 2, 0.1, device),
            )
        },
        |(x, weight)| linear(x, weight.transpose(), None),
        |(x, weight): (Tensor<3>, Tensor<2>)| module::linear(x, weight.transpose(), None),
        &numbers([1, 64, 49152], 9, 1.0, &Device::flex()),
    );
    layer.into_iter().chain(head)
}
