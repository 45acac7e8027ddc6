use super::rows::filled;
use burn::tensor::{Bool, Tensor};
use distily_kernels::{in_format_of, widened};

/// Where a query row `[batch, 1, seq, 1]` of a map `[batch, heads, seq, seq]` does not count, and
/// its weight where it does.
pub(super) struct QueryRows {
    weights: Tensor<2>,
    pub(super) masked: Tensor<4, Bool>,
}

impl QueryRows {
    /// The rows of weights `[batch * seq]`, in the format of `x`.
    pub(super) fn new<const D: usize>(weights: Tensor<1>, batch: usize, x: &Tensor<D>) -> Self {
        let weights = in_format_of(weights.without_autodiff(), x);
        let seq = weights.dims()[0] / batch;
        let masked = weights.clone().equal_scalar(0.0);
        Self {
            weights: weights.unsqueeze_dim(1),
            masked: masked.reshape([batch, 1, seq, 1]),
        }
    }

    /// The weighted sum of the mean over the heads of a value of each row, `[batch, heads, seq, 1]`.
    pub(super) fn sum(&self, values: Tensor<4>) -> Tensor<1> {
        let values = filled(values.mean_dim(1), self.masked.clone(), 0.0);
        (values.reshape([-1, 1]) * self.weights.clone()).sum()
    }

    /// The weight of each row of each head in that sum, `[batch * heads * seq]`.
    pub(super) fn by_head(&self, heads: usize) -> Tensor<1> {
        let [batch, _, seq, _] = self.masked.dims();
        let weights = self.weights.clone().reshape([batch, 1, seq]);
        let weights = weights.expand([batch, heads, seq]).flatten(0, 2);
        weights.div_scalar(heads as f64)
    }
}

/// Features by head of both sides, wide and in one format; the teacher's outside any graph.
pub(super) fn sides(student: Tensor<4>, teacher: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let student = widened(student);
    let teacher = in_format_of(teacher.without_autodiff(), &student);
    (student, teacher)
}
