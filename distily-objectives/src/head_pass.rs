use burn::tensor::Tensor;
use distily_core::{Head, HeadLayout, ValueAndGradient, in_format_of};
use distily_kernels::{add_product, attach_gradient};
use std::convert::Infallible;
use std::ops::Range;

/// The logits of this many bytes are computed at a time, unless a chunk is said: see
/// `docs/results/fused.md` for what smaller and larger ones cost.
const CHUNK_BYTES: usize = 12 << 20;

/// Tokens in a chunk for a vocabulary.
pub fn default_chunk(vocabulary: usize) -> usize {
    (CHUNK_BYTES / 4 / vocabulary.max(1)).clamp(16, 1024)
}

/// A loss on the logits of a head, in the graph of the hidden states and of the head, without ever
/// holding the logits of all tokens: `loss` is given those of `chunk` tokens at a time, with the
/// range of the tokens, and says its value and its gradient with respect to them. The gradients of
/// the hidden states, the weight and the bias are taken right away; nothing else is kept.
///
/// Shapes: `hidden` `[tokens, width]`; the logits `[chunk, vocabulary]`; the result is `[1]`.
///
/// A head that is frozen (nothing of its graph is tracked) costs no gradient. A tied, transposed or
/// reparameterised one gets its gradient through its own graph.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use distily_core::Head;
/// use distily_kernels::{Divergence, divergence};
/// use distily_objectives::through_head;
///
/// let device = Device::flex();
/// let graph = device.clone().autodiff();
/// let hidden = Tensor::<2>::from_data([[1.0, 2.0], [0.5, -1.0]], &graph).require_grad();
/// let weight = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], &graph).require_grad();
/// let teacher = Tensor::<2>::from_data([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], &device);
/// let weights = Tensor::<1>::from_data([0.5, 0.5], &device);
///
/// let head = Head::by_vocabulary(weight.clone());
/// let loss = through_head(hidden.clone(), &head, 1, |student, tokens| {
///     let (teacher, weights) = (teacher.clone().slice([tokens.clone()]), weights.clone().slice([tokens]));
///     divergence(Divergence::ForwardKl, student, teacher, weights, 1.0)
/// });
/// let gradients = loss.backward();
/// assert!(hidden.grad(&gradients).is_some() && weight.grad(&gradients).is_some());
/// ```
///
/// # Panics
///
/// If the hidden states are not as wide as the head, or the chunk is 0.
pub fn through_head(
    hidden: Tensor<2>,
    head: &Head,
    chunk: usize,
    mut loss: impl FnMut(Tensor<2>, Range<usize>) -> ValueAndGradient,
) -> Tensor<1> {
    match try_through_head(hidden, head, chunk, |logits, range| Ok(loss(logits, range))) {
        Ok(value) => value,
        Err::<_, Infallible>(never) => match never {},
    }
}

/// [`through_head`] with a loss that may fail.
pub(crate) fn try_through_head<E>(
    hidden: Tensor<2>,
    head: &Head,
    chunk: usize,
    mut loss: impl FnMut(Tensor<2>, Range<usize>) -> Result<ValueAndGradient, E>,
) -> Result<Tensor<1>, E> {
    let [tokens, width] = hidden.dims();
    let plain = head.detached();
    let input = hidden.clone().without_autodiff();
    let device = input.device();
    let trains_weight = head.weight.is_tracked();
    let trains_bias = head.bias.as_ref().is_some_and(Tensor::is_tracked);
    let mut of_weight = trains_weight.then(|| Tensor::zeros(head.weight.dims(), &device));
    let mut of_bias = trains_bias.then(|| Tensor::zeros([head.vocabulary()], &device));
    let mut of_hidden = Vec::new();
    let mut value = Tensor::<1>::zeros([1], &device);
    for start in (0..tokens).step_by(chunk) {
        let range = start..tokens.min(start + chunk);
        let part = input.clone().slice([range.clone(), 0..width]);
        let logits = plain.logits(part.clone());
        let kept = head.soft_cap.map(|cap| (cap, logits.clone()));
        let ValueAndGradient {
            value: of_part,
            mut gradient,
        } = loss(logits, range)?;
        value = value + of_part;
        if let Some((cap, logits)) = kept {
            let logits = in_format_of(logits, &gradient);
            let squared = logits.div_scalar(cap).square();
            gradient = gradient * (squared.neg().add_scalar(1.0));
        }
        if let Some(scale) = head.scale {
            gradient = gradient.mul_scalar(scale);
        }
        if hidden.is_tracked() {
            let weight = in_format_of(plain.weight.clone(), &gradient);
            of_hidden.push(gradient.clone().matmul(match head.layout {
                HeadLayout::ByVocabulary => weight,
                HeadLayout::ByWidth => weight.transpose(),
            }));
        }
        of_bias = of_bias.map(|sum| sum + gradient.clone().sum_dim(0).squeeze_dim(0));
        of_weight = of_weight.map(|sum| match head.layout {
            HeadLayout::ByVocabulary => add_product(sum, gradient, part),
            HeadLayout::ByWidth => add_product(sum, part, gradient),
        });
    }
    let mut total = value;
    if !of_hidden.is_empty() {
        total = attach_gradient(total, hidden, Tensor::cat(of_hidden, 0));
    }
    if let Some(gradient) = of_weight {
        total = attach_gradient(total, head.weight.clone(), gradient);
    }
    if let (Some(bias), Some(gradient)) = (&head.bias, of_bias) {
        total = attach_gradient(total, bias.clone(), gradient);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::random;
    use burn::tensor::TensorData;
    use distily_kernels::{Divergence, divergence};
    use proptest::prelude::*;

    /// A parameter.
    fn leaf<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
        Tensor::from_inner(random(shape, seed)).require_grad()
    }

    proptest! {
        /// The same value and gradients as with all logits in the graph, for every head.
        #[test]
        fn chunks_change_nothing(
            tokens in 1usize..9, chunk in 1usize..9, seed in any::<u64>(), by_width in any::<bool>(),
            with_bias in any::<bool>(), scaled in any::<bool>(), capped in any::<bool>(),
            frozen in any::<bool>(),
        ) {
            let (width, vocabulary) = (5, 11);
            let hidden = leaf([tokens, width], seed);
            let weight = match by_width {
                true => leaf([width, vocabulary], seed ^ 1),
                false => leaf([vocabulary, width], seed ^ 1),
            };
            let bias = leaf([vocabulary], seed ^ 2);
            let tied = if frozen { weight.clone().detach() } else { weight.clone() };
            let head = Head {
                bias: with_bias.then(|| bias.clone()),
                scale: scaled.then_some(1.7),
                soft_cap: capped.then_some(2.0),
                ..if by_width { Head::by_width(tied) } else { Head::by_vocabulary(tied) }
            };
            let teacher = random([tokens, vocabulary], seed ^ 3);
            let weights = random([tokens], seed ^ 4).abs();
            let of = Divergence::JensenShannon { beta: 0.4 };
            let fused = through_head(hidden.clone(), &head, chunk, |student, range| {
                let teacher = teacher.clone().slice([range.clone()]);
                divergence(of, student, teacher, weights.clone().slice([range]), 1.5)
            });
            let logits = head.logits(hidden.clone());
            let naive = divergence(of, logits.clone(), teacher.clone(), weights.clone(), 1.5)
                .attached_to(logits);
            let difference = fused.clone().into_scalar::<f32>() - naive.clone().into_scalar::<f32>();
            prop_assert!(difference.abs() < 1e-5);
            let (fused, naive) = (fused.backward(), naive.backward());
            let same = |a: Option<TensorData>, b: Option<TensorData>| match (a, b) {
                (Some(a), Some(b)) => a.iter::<f32>().zip(b.iter::<f32>()).all(|(a, b)| (a - b).abs() < 1e-5),
                (None, None) => true,
                _ => false,
            };
            let both = |of: &Tensor<2>| {
                (of.grad(&fused).map(Tensor::into_data), of.grad(&naive).map(Tensor::into_data))
            };
            let (ours, theirs) = both(&hidden);
            prop_assert!(same(ours, theirs));
            let (ours, theirs) = both(&weight);
            prop_assert!(ours.is_some() != frozen && same(ours, theirs));
            let bias = (bias.grad(&fused).map(Tensor::into_data), bias.grad(&naive).map(Tensor::into_data));
            prop_assert!(bias.0.is_some() == with_bias && same(bias.0, bias.1));
        }
    }
}
