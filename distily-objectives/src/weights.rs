use burn::tensor::{Device, Tensor, TensorData};

/// The weights of a mean over the tokens that count, `[tokens]`: 1 / how many count, and 0 for the
/// others. If none counts, all are 0, and so is the loss.
pub fn mean_over(counts: &[bool], device: &Device) -> Tensor<1> {
    let total = counts.iter().filter(|&&counts| counts).count().max(1);
    let share = 1.0 / total as f32;
    let weights: Vec<f32> = counts
        .iter()
        .map(|&counts| if counts { share } else { 0.0 })
        .collect();
    let device = device.clone().without_autodiff();
    Tensor::from_data(TensorData::new(weights, [counts.len()]), &device)
}
