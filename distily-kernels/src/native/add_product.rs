use super::matrix::{Cores, Destination, Matrix, multiply_on};
use super::tensors::{elements, into_elements, slice};
use burn::backend::Flex;
use burn::tensor::Tensor;

pub(crate) fn add_product(sum: Tensor<2>, lhs: Tensor<2>, rhs: Tensor<2>) -> Tensor<2> {
    let ([tokens, m], [_, n]) = (lhs.dims(), rhs.dims());
    let (lhs, rhs) = (elements(&lhs), elements(&rhs));
    // Without a second holder nothing is copied.
    let mut sum = into_elements(sum);
    multiply_on(
        Cores::All,
        sum.storage_mut::<f32>(),
        Destination::Add,
        1.0,
        Matrix::new(slice(&lhs), tokens, m, m).transposed(),
        Matrix::new(slice(&rhs), tokens, n, n),
    );
    Tensor::from_primitive::<Flex>(sum)
}
