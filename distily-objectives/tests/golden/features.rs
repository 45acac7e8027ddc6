//! The losses on features and their gradients against torch's autograd: `features.json`, by
//! `features.py`.

use super::{Against, error};
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use distily_kernels::{Segments, attention_weights};
use distily_objectives::{
    attention_kl, attention_mse, cka, cosine, dist, hidden_mse, info_nce, logsum, mean_over,
    relation_kl, relation_mse, relation_normalized_kl,
};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Golden {
    inputs: Vec<Array>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    loss: String,
    student: usize,
    teacher: usize,
    counts: Vec<bool>,
    segments: Option<Vec<Vec<u32>>>,
    parameters: Map<String, Value>,
    value: f64,
    gradient: Vec<f64>,
}

#[derive(Deserialize)]
struct Array {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Array {
    fn tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        let data = TensorData::new(self.values.clone(), self.shape.clone());
        Tensor::from_data(data, device)
    }
}

impl Case {
    fn parameter(&self, name: &str) -> f64 {
        self.parameters[name].as_f64().unwrap()
    }

    fn weights(&self) -> Tensor<1> {
        mean_over(&self.counts, &Device::default())
    }

    /// The value and the gradient of the student.
    fn run<const D: usize>(
        &self,
        inputs: &[Array],
        loss: impl Fn(Tensor<D>, Tensor<D>, Tensor<1>) -> Tensor<1>,
    ) -> (f64, Vec<f64>) {
        let device = Device::default().autodiff();
        let student = inputs[self.student].tensor::<D>(&device).require_grad();
        let teacher = inputs[self.teacher].tensor(&device);
        let loss = loss(student.clone(), teacher, self.weights());
        let gradient = student.grad(&loss.backward()).unwrap();
        let gradient = gradient.into_data().iter::<f64>().collect();
        (loss.into_scalar::<f64>(), gradient)
    }

    fn got(&self, inputs: &[Array]) -> (f64, Vec<f64>) {
        let parameter = |name| self.parameter(name);
        let segments = self.segments.as_ref().map(|rows| {
            let shape = [rows.len(), rows[0].len()];
            Segments::new(rows.concat(), shape)
        });
        let segments = || segments.as_ref().unwrap();
        let heads = || parameter("relation_heads") as usize;
        match self.loss.as_str() {
            "hidden_mse" => self.run(inputs, hidden_mse),
            "cosine" => self.run(inputs, cosine),
            "logsum" => self.run(inputs, |s, t, w| {
                logsum(s, t, w, parameter("alpha"), parameter("floor"))
            }),
            "cka" => self.run(inputs, cka),
            "info_nce" => self.run(inputs, |s, t, w| info_nce(s, t, w, parameter("tau"))),
            "dist" => self.run(inputs, |s, t, w| {
                dist(s, t, w, parameter("within"), parameter("between"))
            }),
            "relation_mse" => {
                self.run(inputs, |s, t, w| relation_mse(s, t, segments(), w, heads()))
            }
            "relation_kl" => self.run(inputs, |s, t, w| relation_kl(s, t, segments(), w, heads())),
            "relation_normalized_kl" => self.run(inputs, |s, t, w| {
                relation_normalized_kl(s, t, segments(), w, heads(), parameter("tau"))
            }),
            "attention_mse" | "attention_kl" => {
                let hidden = hidden(segments());
                let map = |scores: Tensor<4>| {
                    let hidden = hidden.clone().expand(scores.shape());
                    softmax(scores.mask_fill(hidden, f64::NEG_INFINITY), 3)
                };
                let kl = self.loss == "attention_kl";
                let loss = if kl { attention_kl } else { attention_mse };
                self.run(inputs, |s, t, w| loss(map(s), map(t), w))
            }
            other => panic!("no loss is called {other}"),
        }
    }
}

/// Where a query must not look, `[batch, 1, seq, seq]`.
fn hidden(segments: &Segments) -> Tensor<4, Bool> {
    let [batch, seq] = segments.shape();
    let alike = Tensor::<4>::zeros([batch, seq, 1, 1], &Device::default());
    attention_weights(alike.clone(), alike, segments, 1.0).equal_scalar(0.0)
}

/// How far every case is from torch.
pub(crate) fn cases() -> Vec<Against> {
    let golden: Golden = serde_json::from_str(include_str!("features.json")).unwrap();
    let against = |case: &Case| {
        let (value, gradient) = case.got(&golden.inputs);
        // CKA by columns is taken from 1, and so is its rounding: of a student that is near its teacher,
        // each part of the gradient is far larger than their sum. By which instructions a processor
        // multiplies matrices makes all the difference there.
        let (from, least) = match case.loss.as_str() {
            "cka" => (1.0, 0.01),
            _ => (0.0, 0.0),
        };
        let largest = case.gradient.iter().fold(0f64, |all, x| all.max(x.abs()));
        let gradient = error(&gradient, &case.gradient) * largest / largest.max(least);
        Against {
            loss: case.loss.clone(),
            value: error(&[from - value], &[from - case.value]),
            gradient,
        }
    };
    golden.cases.iter().map(against).collect()
}
