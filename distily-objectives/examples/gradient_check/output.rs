//! The losses on the output distribution, over plain logits and through a head.

use crate::defined::defined;
use crate::reference::{cell, constant, leaf, noise, numbers, references};
use burn::tensor::{Device, Tensor};
use distily_core::{
    Answer, Comparison, Distribution, Features, Head, ModelShape, Objective, Outputs, Seed, Taps,
    TeacherTokens, TokenBatch,
};
use distily_objectives::{
    LossConfig, ObjectiveConfig, TermConfig, divergence, top_k, top_k_kl, uld,
};

/// Rows, tokens in a row.
const BATCH: [usize; 2] = [2, 5];
const VOCABULARY: usize = 11;
const WIDTH: usize = 6;

/// Under which circumstances a gradient is checked.
#[derive(Clone, Copy)]
pub(crate) struct Condition {
    pub(crate) name: &'static str,
    /// Whether some tokens do not count.
    masked: bool,
    temperature: f64,
    /// Columns that the teacher's vocabulary has beyond the student's.
    padding: usize,
}

pub(crate) const CONDITIONS: [Condition; 4] = [
    Condition {
        name: "all tokens",
        masked: false,
        temperature: 1.0,
        padding: 0,
    },
    Condition {
        name: "mask",
        masked: true,
        temperature: 1.0,
        padding: 0,
    },
    Condition {
        name: "temperature",
        masked: false,
        temperature: 2.5,
        padding: 0,
    },
    Condition {
        name: "padded vocabulary",
        masked: true,
        temperature: 2.5,
        padding: 3,
    },
];

/// A loss and what it is computed of.
pub(crate) struct Case {
    loss: LossConfig,
    condition: Condition,
    batch: TokenBatch,
    hidden: Tensor<3>,
    weight: Tensor<2>,
    /// The teacher's logits, `[batch, seq, vocabulary + padding]`.
    teacher: Tensor<3>,
}

impl Case {
    pub(crate) fn new(loss: &LossConfig, condition: Condition) -> Self {
        let [rows, length] = BATCH;
        let ids = (0..rows * length).map(|at| (at * 7 % VOCABULARY) as u32);
        let batch = TokenBatch::new(ids.collect(), BATCH).unwrap();
        let counts = (0..rows * length).map(|at| !condition.masked || at % 3 != 1);
        Self {
            loss: loss.clone(),
            condition,
            batch: batch.with_loss_mask(counts.collect()).unwrap(),
            hidden: noise([rows, length, WIDTH], 1),
            weight: noise([VOCABULARY, WIDTH], 2),
            teacher: noise([rows, length, VOCABULARY + condition.padding], 3) * 2.0,
        }
    }

    /// The definition, over the tokens that count.
    fn defined(&self, student: Tensor<2>, at: Tensor<2>) -> Tensor<1> {
        let teacher = self.teacher.clone().flatten::<2>(0, 1);
        let teacher = constant(teacher.narrow(1, 0, VOCABULARY));
        let targets: Vec<usize> = self.batch.targets().iter().map(|&id| id as usize).collect();
        let values = defined(
            &self.loss,
            [student, at, teacher],
            &targets,
            self.temperature(),
        );
        (values * constant(self.weights()).unsqueeze_dim::<2>(1)).sum()
    }

    fn weights(&self) -> Tensor<1> {
        let predictions = self.batch.predictions();
        self.batch
            .prediction_weights(predictions, &Device::default())
    }

    /// Labels have none.
    fn temperature(&self) -> f64 {
        match self.loss {
            LossConfig::CrossEntropy => 1.0,
            _ => self.condition.temperature,
        }
    }

    /// The function over plain tensors: the gradient of the logits.
    pub(crate) fn dense(&self) -> Option<String> {
        if self.condition.padding > 0 {
            return None;
        }
        let logits = logits(self.hidden.clone(), self.weight.clone());
        let student = leaf(logits.clone());
        let teacher = self.teacher.clone().flatten(0, 1);
        let temperature = self.temperature();
        let (s, weights) = (student.clone(), self.weights());
        let value = match self.loss {
            LossConfig::TopKKl { k } => top_k_kl(s, teacher, k, weights, temperature),
            LossConfig::Uld => uld(s, teacher, weights, temperature),
            _ => divergence(self.loss.divergence()?, s, teacher, weights, temperature),
        };
        let ours = numbers(student.grad(&value.backward()).unwrap());
        Some(cell(
            &ours,
            references(&|x, at| self.defined(x, at.clone()), &logits),
        ))
    }

    /// Through the head, in chunks of three tokens: the gradients of the hidden states and the head.
    pub(crate) fn fused(&self) -> String {
        self.through_head(&self.loss, Distribution::Logits(self.teacher.clone()))
    }

    /// The same of a teacher that is known at its likeliest ids alone, by forward KL.
    pub(crate) fn sparse(&self) -> Option<String> {
        let LossConfig::TopKKl { k } = self.loss else {
            return None;
        };
        let [rows, length, _] = self.teacher.dims();
        let logits = self.teacher.clone().narrow(2, 0, VOCABULARY).flatten(0, 1);
        let TeacherTokens::Sparse {
            ids,
            probabilities,
            tail,
            temperature,
        } = top_k(logits, k, self.temperature())
        else {
            unreachable!("it is sparse");
        };
        let known = Distribution::Sparse {
            ids: ids.reshape([rows, length, k]),
            probabilities: probabilities.reshape([rows, length, k]),
            tail: tail.reshape([rows, length]),
            temperature,
        };
        Some(self.through_head(&LossConfig::ForwardKl, known))
    }

    fn through_head(&self, loss: &LossConfig, distribution: Distribution) -> String {
        let shape = |vocabulary| ModelShape {
            vocabulary,
            width: WIDTH,
            ..ModelShape::default()
        };
        let temperature = match self.loss {
            LossConfig::CrossEntropy => None,
            _ => Some(self.condition.temperature),
        };
        let config = ObjectiveConfig {
            terms: vec![TermConfig {
                temperature,
                ..TermConfig::new(loss.clone())
            }],
        };
        let teacher = shape(self.teacher.dims()[2]);
        let objective = config.build(&shape(VOCABULARY), &teacher, Seed(1), &Device::default());
        let (hidden, weight) = (leaf(self.hidden.clone()), leaf(self.weight.clone()));
        let head = Head::by_vocabulary(weight.clone());
        let answer = Answer {
            distribution,
            features: Features::default(),
        };
        let losses = objective.unwrap().with_chunk(3).evaluate(&Comparison {
            student: &Outputs::new(hidden.clone(), &head, &Taps::none()),
            head: &head,
            teacher: &answer,
            batch: &self.batch,
            predictions: self.batch.predictions(),
            step: 0,
        });
        let gradients = losses.unwrap().total.backward();
        let mut ours = numbers(hidden.grad(&gradients).unwrap());
        ours.extend(numbers(weight.grad(&gradients).unwrap()));

        let of_hidden = |x, at: &Tensor<3>| {
            let weight = constant(self.weight.clone());
            self.defined(logits(x, weight.clone()), logits(at.clone(), weight))
        };
        let of_weight = |x, at: &Tensor<2>| {
            let hidden = constant(self.hidden.clone());
            self.defined(logits(hidden.clone(), x), logits(hidden, at.clone()))
        };
        let of_hidden = references(&of_hidden, &self.hidden);
        let of_weight = references(&of_weight, &self.weight);
        let both = std::array::from_fn(|at| [&of_hidden[at][..], &of_weight[at]].concat());
        cell(&ours, both)
    }
}

fn logits(hidden: Tensor<3>, weight: Tensor<2>) -> Tensor<2> {
    hidden.flatten::<2>(0, 1).matmul(weight.transpose())
}
