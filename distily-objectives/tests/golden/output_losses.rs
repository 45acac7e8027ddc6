//! The losses on the output distribution that are no pointwise divergence against torch:
//! `output_losses.json`, by `output_losses.py`.

use super::divergences::tensor;
use super::{Against, error};
use burn::tensor::{Device, Tensor, TensorData};
use distily_objectives::{sinkhorn, top_k_kl, uld};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(tag = "loss", rename_all = "snake_case")]
enum Loss {
    Uld,
    TopKKl { k: usize },
    Sinkhorn { epsilon: f64, iterations: usize },
}

#[derive(Deserialize)]
struct Golden {
    #[serde(flatten)]
    loss: Loss,
    temperature: f64,
    student: Vec<Vec<f32>>,
    teacher: Vec<Vec<f32>>,
    weights: Vec<f32>,
    value: f64,
    gradient: Vec<Vec<f64>>,
}

/// How far every case is from torch.
pub(crate) fn cases() -> Vec<Against> {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("output_losses.json")).unwrap();
    golden.iter().map(Golden::against).collect()
}

impl Golden {
    fn against(&self) -> Against {
        let device = Device::default().autodiff();
        let student = tensor(&self.student, &device).require_grad();
        let teacher = tensor(&self.teacher, &device);
        let weights = TensorData::new(self.weights.clone(), [self.weights.len()]);
        let weights = Tensor::<1>::from_data(weights, &device);
        let (s, t, temperature) = (student.clone(), teacher, self.temperature);
        let (name, loss) = match self.loss {
            Loss::Uld => ("uld", uld(s, t, weights, temperature)),
            Loss::TopKKl { k } => ("top_k_kl", top_k_kl(s, t, k, weights, temperature)),
            Loss::Sinkhorn {
                epsilon,
                iterations,
            } => (
                "sinkhorn",
                sinkhorn(s, t, weights, temperature, epsilon, iterations),
            ),
        };
        let gradient = student.grad(&loss.backward()).unwrap().into_data();
        let gradient: Vec<f64> = gradient.iter::<f64>().collect();
        Against {
            loss: name.to_owned(),
            value: error(&[loss.into_scalar::<f64>()], &[self.value]),
            gradient: error(&gradient, &self.gradient.concat()),
        }
    }
}
