//! distily-objectives alone: its losses and a projector, between models and in a loop that are all
//! your own. Nothing here knows another crate of Distily.
#![allow(clippy::print_stdout)]

use anyhow::Result;
use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, Lstm, LstmConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use distily_examples::device;
use distily_objectives::{
    Divergence, Projector, ProjectorConfig, Seed, divergence, hidden_mse, layer_normalized,
    mean_over,
};

const VOCABULARY: usize = 200;

/// A language model as burn's users write it.
#[derive(Module, Debug)]
struct Recurrent {
    embedding: Embedding,
    lstm: Lstm,
    head: Linear,
}

impl Recurrent {
    fn new(width: usize, device: &Device) -> Self {
        Self {
            embedding: EmbeddingConfig::new(VOCABULARY, width).init(device),
            lstm: LstmConfig::new(width, width, true).init(device),
            head: LinearConfig::new(width, VOCABULARY).init(device),
        }
    }

    /// The hidden states and the logits of a batch, token by token: what the losses compare.
    fn forward(&self, ids: Tensor<2, Int>) -> (Tensor<2>, Tensor<2>) {
        let (hidden, _) = self.lstm.forward(self.embedding.forward(ids), None);
        let hidden = hidden.flatten::<2>(0, 1);
        (hidden.clone(), self.head.forward(hidden))
    }
}

/// The projector is trained with the student, and left behind with it.
#[derive(Module, Debug)]
struct Learner {
    student: Recurrent,
    projector: Projector,
}

fn main() -> Result<()> {
    let device = device();
    let autodiff = device.clone().autodiff();
    let (wide, narrow) = (96, 32);
    let teacher = Recurrent::new(wide, &device);
    let mut learner = Learner {
        student: Recurrent::new(narrow, &autodiff),
        projector: ProjectorConfig::Linear.init(narrow, wide, Seed(1), "hidden", &autodiff)?,
    };
    let mut optimizer = AdamWConfig::new().init();

    for step in 0..=200 {
        let distribution = Distribution::Uniform(0.0, VOCABULARY as f64);
        let ids = Tensor::<2>::random([8, 16], distribution, &device).int();
        // The last token of a row is padding, say, and does not count.
        let counts: Vec<bool> = (0..8 * 16).map(|at| at % 16 != 15).collect();
        let weights = mean_over(&counts, &device);

        let (of_teacher, targets) = teacher.forward(ids.clone());
        let (hidden, logits) = learner.student.forward(Tensor::from_inner(ids));
        let output = divergence(Divergence::ForwardKl, logits, targets, weights.clone(), 2.0);
        let features = hidden_mse(
            learner.projector.forward(hidden),
            layer_normalized(of_teacher, 1e-5),
            weights,
        );
        let loss = output.clone() + features.clone().mul_scalar(0.1);

        if step % 50 == 0 {
            let (output, features) = (output.into_scalar::<f32>(), features.into_scalar::<f32>());
            println!("step {step:3}: KL {output:.5}, hidden states {features:.4}");
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &learner);
        learner = optimizer.step(3e-3, learner, gradients);
    }
    println!("{}", learner.student);
    Ok(())
}
