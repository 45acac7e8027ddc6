use super::cosine::Directions;
use super::rows::{Rows, filled};
use burn::tensor::{Bool, Tensor};

/// Linear centred kernel alignment: 1 - ‖Xsᵀ Xt‖² / (‖Xsᵀ Xs‖ ‖Xtᵀ Xt‖), of the features X
/// `[n, width]` of the tokens that count, less their mean; the norms are Frobenius's (Kornblith et
/// al., 1905.00414). It sees how tokens lie to each other and neither rotation nor scale, so it
/// needs no projector between widths.
///
/// Shapes: `student` `[tokens, d_s]`, `teacher` `[tokens, d_t]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)), of which only Σ weights and where they are 0 matters; the
/// result is `[1]`. A token of weight 0 contributes nothing, whatever its features are; the teacher
/// gets no gradient. Where all tokens of a side are alike, to their rounding, nothing can be
/// aligned: the loss is 0 if that is so on both sides, else 1, without gradient.
///
/// **Not a mean over tokens**: the value is that of the batch times Σ weights, so an accumulated
/// step is the mean of its batches' losses, weighted by their tokens. It works in `[tokens,
/// tokens]` where that is smaller than the larger `[width, width]`; otherwise it is taken from 1, so
/// that its rounding is that of 1, some 1e-7.
///
/// # Panics
///
/// If the tokens are not as many.
pub fn cka(student: Tensor<2>, teacher: Tensor<2>, weights: Tensor<1>) -> Tensor<1> {
    let [tokens, _] = student.dims();
    let widest = student.dims()[1].max(teacher.dims()[1]);
    let rows = Rows::new(student, teacher, weights);
    let student = centred_at_one(&rows, rows.student.clone());
    let teacher = centred_at_one(&rows, rows.teacher.clone());
    let distance = if tokens < widest {
        between_tokens(student, teacher)
    } else {
        between_columns(student, teacher)
    };
    distance * rows.weights.sum()
}

/// Centred features over their largest magnitude, which changes nothing but keeps the products in
/// range; all 0 where the tokens are alike.
fn centred_at_one(rows: &Rows, x: Tensor<2>) -> Tensor<2> {
    let before = x.clone().without_autodiff().max_abs().unsqueeze::<2>();
    let x = rows.centred(x);
    let largest = x.clone().without_autodiff().max_abs().unsqueeze::<2>();
    let alike = largest.clone().lower_equal(before.mul_scalar(1e-6));
    filled(x, alike.clone(), 0.0) / largest.mask_fill(alike, 1.0)
}

/// The cosine distance of the two kernels `[tokens, tokens]`: exact for equals.
fn between_tokens(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    let kernel = |x: Tensor<2>| {
        let kernel = x.clone().matmul(x.transpose());
        Directions::of(kernel.flatten::<1>(0, 1).unsqueeze::<2>())
    };
    kernel(student).distance(kernel(teacher)).flatten(0, 1)
}

/// The same by the products `[width, width]`.
fn between_columns(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    let product = |a: &Tensor<2>, b: &Tensor<2>| {
        let product = a.clone().transpose().matmul(b.clone());
        product.square().sum()
    };
    let none = |square: &Tensor<1>| -> Tensor<1, Bool> { square.clone().equal_scalar(0.0) };
    let own = product(&student, &student);
    let of_teacher = product(&teacher, &teacher);
    let (nothing, nothing_there) = (none(&own), none(&of_teacher));
    let norms = own.mask_fill(nothing.clone(), 1.0).sqrt()
        * of_teacher.mask_fill(nothing_there.clone(), 1.0).sqrt();
    let distance = (product(&student, &teacher) / norms).neg().add_scalar(1.0);
    distance.mask_fill(nothing.bool_and(nothing_there), 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Law, laws, laws_of, random, some_tokens};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_the_laws(
            seed in any::<u64>(), tokens in 1usize..8, of_student in 1usize..9,
            of_teacher in 1usize..9,
        ) {
            laws(&cka, [tokens, of_student], seed, &[Law::ZeroForEquals]);
            let (student, teacher) = (
                random([tokens, of_student], seed),
                random([tokens, of_teacher], seed ^ 1),
            );
            laws_of(&cka, student, teacher, &some_tokens(tokens, seed));
        }

        #[test]
        fn both_forms_agree(seed in any::<u64>(), tokens in 2usize..9, width in 1usize..9) {
            let weights = crate::mean_over(&vec![true; tokens], &burn::tensor::Device::default());
            let rows = Rows::new(random([tokens, width], seed), random([tokens, 4], !seed), weights);
            let student = centred_at_one(&rows, rows.student.clone());
            let teacher = centred_at_one(&rows, rows.teacher.clone());
            let difference = between_tokens(student.clone(), teacher.clone())
                - between_columns(student, teacher);
            prop_assert!(difference.into_scalar::<f32>().abs() < 1e-5);
        }

        #[test]
        fn scale_shift_and_rotation_change_nothing(
            seed in any::<u64>(), angle in 0f32..6.0, scale in 0.1f32..10.0, shift in -5f32..5.0,
        ) {
            let (student, teacher) = (random([9, 2], seed), random([9, 3], seed ^ 1));
            let device = student.device();
            let weights = crate::mean_over(&[true; 9], &device);
            let (sin, cos) = angle.sin_cos();
            let rotation = Tensor::<2>::from_data([[cos, sin], [-sin, cos]], &device);
            let turned = student.clone().matmul(rotation) * scale + shift;
            let value = |x| cka(x, teacher.clone(), weights.clone()).into_scalar::<f32>();
            prop_assert!((value(student) - value(turned)).abs() < 1e-4);
        }
    }

    #[test]
    fn tokens_that_are_alike_have_no_alignment() {
        for shape in [[5, 9], [9, 5]] {
            let device = burn::tensor::Device::default();
            let weights = crate::mean_over(&vec![true; shape[0]], &device);
            let alike = Tensor::<2>::full(shape, 0.1, &device) * 3.0;
            let value = |s: &Tensor<2>, t: &Tensor<2>| {
                cka(s.clone(), t.clone(), weights.clone()).into_scalar::<f32>()
            };
            assert_eq!(value(&alike, &alike), 0.0);
            assert_eq!(value(&alike, &random(shape, 1)), 1.0);
            assert_eq!(value(&random(shape, 1), &alike), 1.0);
        }
    }
}
