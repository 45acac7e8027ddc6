use super::rows::Rows;
use burn::tensor::Tensor;

/// Mean squared error between hidden states: Σ weight · mean((s - t)²) over the tokens, the mean
/// being over the width (the hidden-state loss of 2310.08797, after its projector).
///
/// Shapes: `student` and `teacher` `[tokens, width]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. A token of weight 0 contributes nothing,
/// whatever its features are; the teacher gets no gradient. A mean over tokens: the parts of an
/// accumulated step add up to the whole.
///
/// # Panics
///
/// If the shapes differ.
pub fn hidden_mse(student: Tensor<2>, teacher: Tensor<2>, weights: Tensor<1>) -> Tensor<1> {
    let rows = Rows::alike(student, teacher, weights);
    let difference = rows.student.clone() - rows.teacher.clone();
    rows.sum(difference.square().mean_dim(1))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Law, laws};
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_the_laws(seed in any::<u64>(), tokens in 1usize..7, width in 1usize..9) {
            laws(&hidden_mse, [tokens, width], seed, &Law::ALL);
        }
    }

    #[test]
    fn it_is_the_value_of_the_formula() {
        let device = Device::default();
        let student = Tensor::<2>::from_data([[1.0, 2.0], [9.0, 9.0]], &device);
        let teacher = Tensor::<2>::from_data([[0.0, 4.0], [0.0, 0.0]], &device);
        let weights = crate::mean_over(&[true, false], &device);
        let mse = hidden_mse(student, teacher, weights).into_scalar::<f32>();
        assert_eq!(mse, 2.5);
    }
}
