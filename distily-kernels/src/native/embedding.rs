use super::tensors::{contiguous, slice};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor};
use std::sync::Arc;

/// The row of each token.
type Ids = Arc<[usize]>;

pub(crate) fn embedding(table: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    if !table.is_tracked() {
        return burn::tensor::module::embedding(table, ids);
    }
    let of_tokens: Ids = ids.to_data().iter::<i64>().map(|id| id as usize).collect();
    let rows = burn::tensor::module::embedding(table.clone().without_autodiff(), ids);
    let (rows, table) = (rows.into_dispatch(), table.into_dispatch());
    Tensor::from_dispatch(Dispatch::of_table(rows, table, of_tokens))
}

/// Rows as a node whose parent is their table.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait WithRows: Backend {
    fn of_table(rows: FloatTensor<Self>, table: FloatTensor<Self>, ids: Ids) -> FloatTensor<Self>;

    /// Adds each token's gradient to its row of the sum.
    fn add_rows(sum: FloatTensor<Self>, gradient: FloatTensor<Self>, ids: Ids)
    -> FloatTensor<Self>;
}

impl WithRows for Flex {
    fn of_table(rows: FlexTensor, _table: FlexTensor, _ids: Ids) -> FlexTensor {
        rows
    }

    fn add_rows(sum: FlexTensor, gradient: FlexTensor, ids: Ids) -> FlexTensor {
        let gradient = contiguous(gradient);
        let width = sum.shape()[1];
        // Without a second holder nothing is copied.
        let mut sum = contiguous(sum);
        let rows = sum.storage_mut::<f32>();
        for (&id, gradient) in ids.iter().zip(slice(&gradient).chunks_exact(width)) {
            let row = &mut rows[id * width..][..width];
            row.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        }
        sum
    }
}

impl<B: WithRows, C: CheckpointStrategy> WithRows for Autodiff<B, C> {
    fn of_table(rows: FloatTensor<Self>, table: FloatTensor<Self>, ids: Ids) -> FloatTensor<Self> {
        let rows = rows.into_primitive();
        let step = Backward::<B, 1>::prepare::<C>(AddRows, [table.node()]);
        match step.compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish((table, ids), rows),
            OpsKind::UnTracked(step) => step.finish(rows),
        }
    }

    fn add_rows(
        sum: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        ids: Ids,
    ) -> FloatTensor<Self> {
        // burn's backward pass is of the first order: a gradient has no graph.
        let (sum, gradient) = (sum.into_primitive(), gradient.into_primitive());
        FloatTensor::<Self>::new(B::add_rows(sum, gradient, ids))
    }
}

#[derive(Debug)]
struct AddRows;

impl<B: WithRows> Backward<B, 1> for AddRows {
    /// The table gives access to its gradient so far. It also keeps the table's node: a graph that
    /// nobody goes back through stays until somebody does through another of the same table.
    type State = (FloatTensor<Autodiff<B>>, Ids);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (table, ids) = ops.state;
        let [Some(parent)] = ops.parents else { return };
        let sum = gradients.remove::<B>(&table).unwrap_or_else(|| {
            B::float_zeros(table.shape(), &table.device(), table.dtype().into())
        });
        gradients.register::<B>(parent.id, B::add_rows(sum, gradient, ids));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tensors::flex;
    use super::*;

    #[test]
    fn the_only_holder_of_a_sum_gets_it_back() {
        let sum = flex(vec![1.0; 12], [4, 3]);
        let before = slice(&sum).as_ptr();
        let gradient = flex(vec![0.5; 6], [1, 2, 3]);
        let after = Flex::add_rows(sum, gradient, Arc::from([2, 2]));
        assert_eq!(slice(&after).as_ptr(), before);
        assert_eq!(slice(&after)[5..10], [1.0, 2.0, 2.0, 2.0, 1.0]);
    }
}
