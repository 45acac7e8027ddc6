//! The losses on features, and the one between tokens: their gradients in f32 against finite differences and autograd in f64.

use crate::reference::{cell, leaf, noise, numbers, references};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use distily_core::Segments;
use distily_objectives::{
    attention_kl, attention_mse, cka, cosine, dist, hidden_mse, info_nce, logsum, mean_over,
    relation_kl, relation_mse, relation_normalized_kl, sinkhorn,
};

type Loss<const D: usize> = fn(Tensor<D>, Tensor<D>, Tensor<1>) -> Tensor<1>;

const OF_ROWS: [(&str, Loss<2>); 7] = [
    ("hidden_mse", hidden_mse),
    ("cosine", cosine),
    ("logsum", |s, t, w| logsum(s, t, w, 4.0, 1.0)),
    ("cka", cka),
    ("info_nce", |s, t, w| info_nce(s, t, w, 0.1)),
    ("dist", |s, t, w| dist(s, t, w, 1.0, 1.0)),
    ("sinkhorn", |s, t, w| sinkhorn(s, t, w, 1.5, 0.1, 20)),
];

const OF_HEADS: [(&str, Loss<4>); 5] = [
    ("relation_mse", |s, t, w| {
        relation_mse(s, t, &segments(), w, 2)
    }),
    ("relation_kl", |s, t, w| {
        relation_kl(s, t, &segments(), w, 2)
    }),
    ("relation_normalized_kl", |s, t, w| {
        relation_normalized_kl(s, t, &segments(), w, 2, 0.5)
    }),
    ("attention_mse", |s, t, w| {
        attention_mse(softmax(s, 3), softmax(t, 3), w)
    }),
    ("attention_kl", |s, t, w| {
        attention_kl(softmax(s, 3), softmax(t, 3), w)
    }),
];

const TOKENS: usize = 10;

/// Two rows: two documents and padding; and one document.
fn segments() -> Segments {
    Segments::new(vec![1, 1, 2, 2, 0, 1, 1, 1, 1, 1], [2, 5])
}

fn check<const D: usize>(
    loss: Loss<D>,
    student: &Tensor<D>,
    teacher: &Tensor<D>,
    masked: bool,
) -> String {
    let counts: Vec<bool> = (0..TOKENS).map(|at| !masked || at % 3 != 1).collect();
    let weights = mean_over(&counts, &Device::default());
    let run = |student| loss(student, teacher.clone(), weights.clone());
    let of_student = leaf(student.clone());
    let ours = numbers(
        of_student
            .grad(&run(of_student.clone()).backward())
            .unwrap(),
    );
    cell(&ours, references(&|x, _| run(x), student))
}

/// Each loss with all tokens, and with a mask.
pub(crate) fn rows() -> Vec<(&'static str, [String; 2])> {
    let of_rows = OF_ROWS.iter().map(|&(name, loss)| {
        let (student, teacher) = (noise([TOKENS, 6], 1), noise([TOKENS, 6], 2));
        (
            name,
            [false, true].map(|masked| check(loss, &student, &teacher, masked)),
        )
    });
    let of_heads = OF_HEADS.iter().map(|&(name, loss)| {
        let (student, teacher) = (noise([2, 4, 5, 5], 1), noise([2, 4, 5, 5], 2));
        (
            name,
            [false, true].map(|masked| check(loss, &student, &teacher, masked)),
        )
    });
    of_rows.chain(of_heads).collect()
}
