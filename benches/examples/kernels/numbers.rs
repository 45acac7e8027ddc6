use burn::tensor::{Device, Tensor, TensorData};

/// Numbers in [-`scale`, `scale`) that are easily the same in torch; no two are equal among 65,521 in
/// a row.
pub(crate) fn numbers<const D: usize>(
    shape: [usize; D],
    seed: usize,
    scale: f32,
    device: &Device,
) -> Tensor<D> {
    let number = |at: usize| ((7919 * at + 104_729 * seed) % 65_521) as f64 / 32_760.5 - 1.0;
    let values = (0..shape.iter().product()).map(|at| scale * number(at) as f32);
    Tensor::from_data(TensorData::new(values.collect(), shape), device)
}

/// The same, of which a gradient is asked where there is a graph.
pub(crate) fn leaf<const D: usize>(
    shape: [usize; D],
    seed: usize,
    scale: f32,
    device: &Device,
) -> Tensor<D> {
    let tensor = numbers(shape, seed, scale, device);
    if device.is_autodiff() {
        tensor.require_grad()
    } else {
        tensor
    }
}
