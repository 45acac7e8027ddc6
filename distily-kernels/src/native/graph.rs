//! A computed tensor enters the autodiff graph together with its backward pass.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensor, Flex, backend_extension};
use burn::tensor::Tensor;
use std::fmt;
use std::sync::Arc;

use super::tensors::{contiguous, elements, flex, slice};

/// From the gradient of an output to the gradients of its inputs, in their order.
#[derive(Clone)]
pub(crate) struct Pullback(Arc<dyn Fn(FlexTensor) -> Vec<FlexTensor> + Send + Sync>);

impl fmt::Debug for Pullback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pullback")
    }
}

/// A tensor as a node whose parents are the inputs. (The macro takes no list of tensors.)
#[backend_extension(Flex, Autodiff)]
pub(crate) trait WithPullback: Backend {
    fn of_one(
        output: FloatTensor<Self>,
        input: FloatTensor<Self>,
        pullback: Pullback,
    ) -> FloatTensor<Self>;

    fn of_two(
        output: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        pullback: Pullback,
    ) -> FloatTensor<Self>;

    fn of_three(
        output: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
        pullback: Pullback,
    ) -> FloatTensor<Self>;

    /// Calls the pullback.
    fn pull_back(gradient: FloatTensor<Self>, pullback: Pullback) -> Vec<FloatTensor<Self>>;
}

impl WithPullback for Flex {
    fn of_one(
        output: FloatTensor<Self>,
        _input: FloatTensor<Self>,
        _pullback: Pullback,
    ) -> FloatTensor<Self> {
        output
    }

    fn of_two(
        output: FloatTensor<Self>,
        _first: FloatTensor<Self>,
        _second: FloatTensor<Self>,
        _pullback: Pullback,
    ) -> FloatTensor<Self> {
        output
    }

    fn of_three(
        output: FloatTensor<Self>,
        _first: FloatTensor<Self>,
        _second: FloatTensor<Self>,
        _third: FloatTensor<Self>,
        _pullback: Pullback,
    ) -> FloatTensor<Self> {
        output
    }

    fn pull_back(gradient: FloatTensor<Self>, pullback: Pullback) -> Vec<FloatTensor<Self>> {
        (pullback.0)(contiguous(gradient))
    }
}

impl<B: WithPullback, C: CheckpointStrategy> WithPullback for Autodiff<B, C> {
    fn of_one(
        output: FloatTensor<Self>,
        input: FloatTensor<Self>,
        pullback: Pullback,
    ) -> FloatTensor<Self> {
        register::<B, C, 1>(output, [input], pullback)
    }

    fn of_two(
        output: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        pullback: Pullback,
    ) -> FloatTensor<Self> {
        register::<B, C, 2>(output, [first, second], pullback)
    }

    fn of_three(
        output: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
        pullback: Pullback,
    ) -> FloatTensor<Self> {
        register::<B, C, 3>(output, [first, second, third], pullback)
    }

    fn pull_back(gradient: FloatTensor<Self>, pullback: Pullback) -> Vec<FloatTensor<Self>> {
        // burn's backward pass is of the first order: a gradient has no graph.
        B::pull_back(gradient.into_primitive(), pullback)
            .into_iter()
            .map(FloatTensor::<Self>::new)
            .collect()
    }
}

#[derive(Debug)]
struct PullbackStep;

impl<B: WithPullback, const N: usize> Backward<B, N> for PullbackStep {
    type State = Pullback;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let inputs = B::pull_back(gradient, ops.state);
        for (parent, gradient) in ops.parents.into_iter().zip(inputs) {
            if let Some(node) = parent {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

fn register<B: WithPullback, C: CheckpointStrategy, const N: usize>(
    output: FloatTensor<Autodiff<B, C>>,
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    pullback: Pullback,
) -> FloatTensor<Autodiff<B, C>> {
    let output = output.into_primitive();
    let inputs = inputs.map(|input| input.into_parts().1);
    let step = Backward::<B, N>::prepare::<C>(PullbackStep, inputs);
    match step.compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(pullback, output),
        OpsKind::UnTracked(step) => step.finish(output),
    }
}

/// The computed `output` of up to three `inputs`, with its backward pass.
pub(super) fn record<const D: usize, const N: usize>(
    output: FlexTensor,
    inputs: [DispatchTensor; N],
    pullback: impl Fn(FlexTensor) -> Vec<FlexTensor> + Send + Sync + 'static,
) -> Tensor<D> {
    let output = Tensor::<D>::from_primitive::<Flex>(output).into_dispatch();
    let pullback = Pullback(Arc::new(pullback));
    let mut inputs = inputs.into_iter();
    Tensor::from_dispatch(match (inputs.next(), inputs.next(), inputs.next()) {
        (Some(first), Some(second), Some(third)) => {
            Dispatch::of_three(output, first, second, third, pullback)
        }
        (Some(first), Some(second), None) => Dispatch::of_two(output, first, second, pullback),
        (Some(first), None, _) => Dispatch::of_one(output, first, pullback),
        _ => output,
    })
}

/// See [`attach_gradient`](crate::attach_gradient); `x` is in a graph.
pub(crate) fn attach_gradient<const D: usize>(
    value: Tensor<1>,
    x: Tensor<D>,
    gradient: Tensor<D>,
) -> Tensor<1> {
    let output = elements(&value);
    let shape = gradient.dims();
    let gradient = elements(&gradient);
    record(
        output,
        [value.into_dispatch(), x.into_dispatch()],
        move |upstream| {
            let factor = slice(&upstream)[0];
            let scaled = if factor == 1.0 {
                gradient.clone()
            } else {
                flex(slice(&gradient).iter().map(|g| g * factor).collect(), shape)
            };
            vec![upstream, scaled]
        },
    )
}
