use crate::attach_gradient;
use burn::tensor::Tensor;

/// The value of an output loss and its closed-form gradient, both outside any graph.
///
/// Rows are tokens. Everything that scales the loss is inside both: the weights of the tokens and
/// the square of the temperature. Both are f32 where the logits are of half precision, which is
/// widened before anything is added up.
#[derive(Debug, Clone)]
pub struct ValueAndGradient {
    /// The weighted sum over the tokens, `[1]`.
    pub value: Tensor<1>,
    /// Its derivative with respect to the student's logits, `[tokens, vocabulary]`.
    pub gradient: Tensor<2>,
}

impl ValueAndGradient {
    /// The value as a node of the graph of `logits`, of which this is the value and the gradient.
    pub fn attached_to(self, logits: Tensor<2>) -> Tensor<1> {
        attach_gradient(self.value, logits, self.gradient)
    }
}
