//! The losses on the output distribution against torch: `divergences.json` and `output_losses.json`,
//! each by the script of its name.

use super::{Against, error};
use burn::tensor::{Device, Tensor, TensorData};
use distily_objectives::{LossConfig, divergence, sinkhorn, top_k_kl, uld};
use serde::Deserialize;

#[derive(Deserialize)]
struct OfDivergence {
    loss: LossConfig,
    #[serde(flatten)]
    case: Case,
}

/// Of a loss that is no pointwise divergence.
#[derive(Deserialize)]
struct Other {
    #[serde(flatten)]
    loss: Loss,
    #[serde(flatten)]
    case: Case,
}

#[derive(Deserialize)]
#[serde(tag = "loss", rename_all = "snake_case")]
enum Loss {
    Uld,
    TopKKl { k: usize },
    Sinkhorn { epsilon: f64, iterations: usize },
}

/// Logits, and what torch says of them.
#[derive(Deserialize)]
struct Case {
    temperature: f64,
    student: Vec<Vec<f32>>,
    teacher: Vec<Vec<f32>>,
    weights: Vec<f32>,
    value: f64,
    gradient: Vec<Vec<f64>>,
}

fn tensor(rows: &[Vec<f32>], device: &Device) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), device)
}

impl Case {
    /// How far a loss of the student's logits, the teacher's, weights and a temperature is off.
    fn against(
        &self,
        name: &str,
        loss: impl FnOnce(Tensor<2>, Tensor<2>, Tensor<1>, f64) -> Tensor<1>,
    ) -> Against {
        let device = Device::default().autodiff();
        let student = tensor(&self.student, &device).require_grad();
        let teacher = tensor(&self.teacher, &device);
        let weights = TensorData::new(self.weights.clone(), [self.weights.len()]);
        let weights = Tensor::from_data(weights, &device);
        let loss = loss(student.clone(), teacher, weights, self.temperature);
        let gradient = student.grad(&loss.backward()).unwrap().into_data();
        let gradient: Vec<f64> = gradient.iter::<f64>().collect();
        Against {
            loss: name.to_owned(),
            value: error(&[loss.into_scalar::<f64>()], &[self.value]),
            gradient: error(&gradient, &self.gradient.concat()),
        }
    }
}

/// How far every case of a divergence is from torch.
pub(crate) fn divergences() -> Vec<Against> {
    let golden: Vec<OfDivergence> = serde_json::from_str(include_str!("divergences.json")).unwrap();
    let against = |golden: &OfDivergence| {
        let of = golden.loss.divergence().unwrap();
        let loss = |s, t, w, temperature| divergence(of, s, t, w, temperature);
        golden.case.against(golden.loss.name(), loss)
    };
    golden.iter().map(against).collect()
}

/// How far every case of the other losses is from torch.
pub(crate) fn others() -> Vec<Against> {
    let golden: Vec<Other> = serde_json::from_str(include_str!("output_losses.json")).unwrap();
    let against = |golden: &Other| match golden.loss {
        Loss::Uld => golden.case.against("uld", uld),
        Loss::TopKKl { k } => {
            let loss = |s, t, w, temperature| top_k_kl(s, t, k, w, temperature);
            golden.case.against("top_k_kl", loss)
        }
        Loss::Sinkhorn {
            epsilon,
            iterations,
        } => {
            let loss = |s, t, w, temperature| sinkhorn(s, t, w, temperature, epsilon, iterations);
            golden.case.against("sinkhorn", loss)
        }
    };
    golden.iter().map(against).collect()
}
