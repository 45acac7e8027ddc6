//! Losses on a chunk of GPT-2's logits, of as many tokens as `through_head` computes at a time, and
//! the choice of a teacher's likeliest ids.

use crate::case::{BOTH, Case, FORWARD, Form, Leaves, squares};
use crate::numbers::{leaf, numbers};
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use distily::kernels::{
    Divergence, ValueAndGradient, cross_entropy, divergence, likeliest_ids, probabilities_of,
};
use distily::objectives::default_chunk;

const VOCABULARY: usize = 50_257;
const SCALE: f32 = 4.0;
const K: usize = 50;

pub(crate) fn cases() -> impl Iterator<Item = Case> {
    [forward_kl(), with_labels(), top_k()].into_iter()
}

fn weights(tokens: usize) -> Tensor<1> {
    Tensor::full([tokens], 1.0 / tokens as f64, &Device::flex())
}

/// A loss on the student's logits, forward and back.
fn case(
    kernel: &'static str,
    ours: impl Fn(Tensor<2>) -> ValueAndGradient + 'static,
    composed: impl Fn(Tensor<2>) -> Tensor<1> + 'static,
) -> Case {
    let tokens = default_chunk(VOCABULARY);
    let student = leaf([tokens, VOCABULARY], 1, SCALE, &Device::flex().autodiff());
    let differentiated = |student: Tensor<2>, loss: Box<dyn Fn(Tensor<2>) -> Tensor<1>>| -> Form {
        Box::new(move || {
            let value = loss(student.clone());
            let mut compared = student.gradients(&value.backward());
            compared.push(squares(value.without_autodiff()));
            compared
        })
    };
    Case {
        kernel,
        shape: format!("{tokens}x{VOCABULARY}"),
        pass: BOTH,
        ours: differentiated(
            student.clone(),
            Box::new(move |student| ours(student.clone()).attached_to(student)),
        ),
        composed: differentiated(student, Box::new(composed)),
    }
}

fn forward_kl() -> Case {
    let tokens = default_chunk(VOCABULARY);
    let teacher = numbers([tokens, VOCABULARY], 2, SCALE, &Device::flex());
    let of_composed = teacher.clone();
    case(
        "divergence, forward KL",
        move |student| {
            let teacher = teacher.clone();
            divergence(
                Divergence::ForwardKl,
                student,
                teacher,
                weights(tokens),
                1.0,
            )
        },
        move |student| {
            let log_p = Tensor::from_inner(log_softmax(of_composed.clone(), 1));
            let log_q = log_softmax(student, 1);
            (log_p.clone().exp() * (log_p - log_q)).sum() / tokens as f64
        },
    )
}

fn with_labels() -> Case {
    let tokens = default_chunk(VOCABULARY);
    let ids: Vec<i32> = (0..tokens)
        .map(|at| (at * 397 % VOCABULARY) as i32)
        .collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(ids, [tokens]), &Device::flex());
    let of_composed = Tensor::<1, Int>::from_inner(labels.clone()).unsqueeze_dim::<2>(1);
    case(
        "cross_entropy",
        move |student| cross_entropy(student, labels.clone(), weights(tokens)),
        move |student| {
            log_softmax(student, 1)
                .gather(1, of_composed.clone())
                .mean()
                .neg()
        },
    )
}

fn top_k() -> Case {
    let logits = numbers([1, VOCABULARY], 1, SCALE, &Device::flex());
    let of_host: Vec<f32> = logits.to_data().iter().collect();
    let mut probabilities = Vec::new();
    probabilities_of(&of_host, 1.0, &mut probabilities);
    let of_composed = softmax(logits, 1);
    Case {
        kernel: "likeliest_ids",
        shape: format!("{K} of {VOCABULARY}"),
        pass: FORWARD,
        ours: Box::new(move || {
            let kept = likeliest_ids(&probabilities, K);
            vec![Box::new(move || kept.iter().map(|(_, p)| p * p).sum())]
        }),
        composed: Box::new(move || {
            let (kept, _) = of_composed.clone().topk_with_indices(K, 1);
            vec![squares(kept)]
        }),
    }
}
