use super::rows::{Rows, filled};
use burn::tensor::{Bool, Tensor};

/// Cosine distance: Σ weight · (1 - cos(s, t)) over the tokens.
///
/// It is computed as ½ |s/|s| - t/|t||², which is the same and exact for vectors that are almost
/// one: never negative, and 0 with a gradient of 0 for equals. A vector without a component of
/// 1e-8 or more has no direction: the distance of two such is 0, of one such and another vector 1
/// (cos = 0), both without gradient.
///
/// Shapes: `student` and `teacher` `[tokens, width]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. A token of weight 0 contributes nothing,
/// whatever its features are; the teacher gets no gradient. A mean over tokens: the parts of an
/// accumulated step add up to the whole.
///
/// # Panics
///
/// If the shapes differ.
pub fn cosine(student: Tensor<2>, teacher: Tensor<2>, weights: Tensor<1>) -> Tensor<1> {
    let rows = Rows::alike(student, teacher, weights);
    let student = Directions::of(rows.student.clone());
    let teacher = Directions::of(rows.teacher.clone());
    rows.sum(student.distance(teacher))
}

/// The least component, in magnitude, of a vector that has a direction.
const LEAST: f64 = 1e-8;

/// Vectors along the last axis at length 1.
pub(super) struct Directions<const D: usize> {
    /// The vectors; 0, and without gradient, where there is no direction.
    pub(super) vectors: Tensor<D>,
    /// Where there is none, `[.., 1]`.
    none: Tensor<D, Bool>,
}

impl<const D: usize> Directions<D> {
    pub(super) fn of(x: Tensor<D>) -> Self {
        let largest = x.clone().without_autodiff().max_abs_dim(D - 1);
        let none = largest.clone().lower_scalar(LEAST);
        Self::scaled(x, largest, none)
    }

    /// The directions of vectors less their mean, which have none where the largest component is
    /// not above the rounding of the largest `before`, `[.., 1]`.
    pub(super) fn of_centred(x: Tensor<D>, before: Tensor<D>) -> Self {
        let largest = x.clone().without_autodiff().max_abs_dim(D - 1);
        let none = largest.clone().lower_equal(before.mul_scalar(1e-6));
        let none = none.bool_or(largest.clone().lower_scalar(LEAST));
        Self::scaled(x, largest, none)
    }

    /// A direction does not depend on the length: dividing by the largest component first keeps
    /// the squares in range, and its own gradient is 0.
    fn scaled(x: Tensor<D>, largest: Tensor<D>, none: Tensor<D, Bool>) -> Self {
        let x = filled(x, none.clone(), 0.0) / largest.mask_fill(none.clone(), 1.0);
        let square = x.clone().square().sum_dim(D - 1);
        let length = square.mask_fill(none.clone(), 1.0).sqrt();
        Self {
            vectors: x / length,
            none,
        }
    }

    /// 1 - cos, `[.., 1]`.
    pub(super) fn distance(self, other: Self) -> Tensor<D> {
        let difference = self.vectors - other.vectors;
        let distance = difference.square().sum_dim(D - 1).mul_scalar(0.5);
        distance.mask_fill(self.none.not_equal(other.none), 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Law, laws};
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_the_laws(seed in any::<u64>(), tokens in 1usize..7, width in 2usize..9) {
            laws(&cosine, [tokens, width], seed, &Law::ALL);
        }

        #[test]
        fn lengths_do_not_matter(
            values in prop::collection::vec(0.1f32..1.0, 8), length in -6i32..16,
        ) {
            let device = Device::default();
            let row = |values: &[f32]| Tensor::<1>::from_data(values, &device).unsqueeze::<2>();
            let (student, teacher) = values.split_at(4);
            let weights = crate::mean_over(&[true], &device);
            let plain = cosine(row(student), row(teacher), weights.clone());
            let long = cosine(row(student) * 10f32.powi(length), row(teacher), weights);
            prop_assert!((plain - long).into_scalar::<f32>().abs() < 1e-6);
        }
    }

    #[test]
    fn no_direction_is_no_gradient() {
        let device = Device::default().autodiff();
        // Both have none; the student has none; the teacher has none; opposites.
        let student = [[0f32, 0.0], [0.0, 0.0], [1.0, 2.0], [3.0, 4.0]];
        let teacher = [[0f32, 0.0], [1.0, 2.0], [0.0, 0.0], [-3.0, -4.0]];
        for (at, expected) in [0.0f32, 1.0, 1.0, 2.0].into_iter().enumerate() {
            let student = Tensor::<2>::from_data([student[at]], &device).require_grad();
            let teacher = Tensor::<2>::from_data([teacher[at]], &device);
            let weights = crate::mean_over(&[true], &device);
            let loss = cosine(student.clone(), teacher, weights);
            let gradient = student.grad(&loss.backward()).unwrap();
            assert!((loss.into_scalar::<f32>() - expected).abs() < 1e-6, "{at}");
            assert!(gradient.abs().max().into_scalar::<f32>() < 1e-7, "{at}");
        }
    }
}
