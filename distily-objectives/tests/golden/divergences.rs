//! The losses on the output distribution against torch: `divergences.json`, by `divergences.py`.

use super::{Against, error};
use burn::tensor::{Device, Tensor, TensorData};
use distily_objectives::{LossConfig, divergence};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    loss: LossConfig,
    temperature: f64,
    student: Vec<Vec<f32>>,
    teacher: Vec<Vec<f32>>,
    weights: Vec<f32>,
    value: f64,
    gradient: Vec<Vec<f64>>,
}

pub(crate) fn tensor(rows: &[Vec<f32>], device: &Device) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), device)
}

/// How far every case is from torch.
pub(crate) fn cases() -> Vec<Against> {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("divergences.json")).unwrap();
    golden.iter().map(Golden::against).collect()
}

impl Golden {
    fn against(&self) -> Against {
        let device = Device::default().autodiff();
        let student = tensor(&self.student, &device).require_grad();
        let weights = TensorData::new(self.weights.clone(), [self.weights.len()]);
        let loss = divergence(
            self.loss.divergence().unwrap(),
            student.clone(),
            tensor(&self.teacher, &device),
            Tensor::from_data(weights, &device),
            self.temperature,
        );
        let gradient = student.grad(&loss.backward()).unwrap().into_data();
        let gradient: Vec<f64> = gradient.iter::<f64>().collect();
        Against {
            loss: self.loss.name().to_owned(),
            value: error(&[loss.into_scalar::<f64>()], &[self.value]),
            gradient: error(&gradient, &self.gradient.concat()),
        }
    }
}
