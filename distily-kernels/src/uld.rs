use crate::{ValueAndGradient, in_format_of, widened};
use burn::tensor::activation::softmax;
use burn::tensor::{IndexingUpdateOp, Tensor};

/// Universal logit distillation: Σ_tokens weight · T² · Σ_rank |p_rank - q_rank|, where p and q are
/// the softmax of the teacher's and the student's logits over the temperature T, each sorted from
/// its likeliest id down, and the shorter one filled up with zeros (Boizard et al., 2402.12030);
/// and its gradient with respect to the student's logits. It compares how sure both are and not of
/// what, so that the vocabularies may be any two.
///
/// Shapes: `student` `[tokens, v_s]`, `teacher` `[tokens, v_t]`, `weights` `[tokens]`. A token of
/// weight 0 contributes nothing, whatever its logits are. Where two ranks are equal, the gradient
/// of their difference is 0.
///
/// # Panics
///
/// If the tokens are not as many.
pub fn uld(
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    let [tokens, _] = student.dims();
    assert_eq!(teacher.dims()[0], tokens, "the tokens are not as many");
    assert_eq!(weights.dims()[0], tokens, "one weight a token");
    let student = widened(student.without_autodiff());
    let teacher = in_format_of(teacher.without_autodiff(), &student);
    let weights = in_format_of(weights.without_autodiff(), &student);
    #[cfg(feature = "flex")]
    if crate::native::serves(&student) {
        return crate::native::uld(student, teacher, weights, temperature);
    }
    composed(student, teacher, weights, temperature)
}

fn composed(
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    let shape @ [_, of_student] = student.dims();
    let wide = of_student.max(teacher.dims()[1]);
    let masked = weights.clone().equal_scalar(0.0).unsqueeze_dim::<2>(1);
    let everywhere = masked.clone().expand(shape);
    let weights = weights.unsqueeze_dim::<2>(1);
    // Sorted first, so that the order of the ids is nowhere in the sums.
    let (student, ids) = student.sort_descending_with_indices(1);
    let shares = |sorted: Tensor<2>| filled_up(softmax(sorted.div_scalar(temperature), 1), wide);
    let (q, p) = (shares(student), shares(teacher.sort_descending(1)));
    let difference = q.clone() - p;
    let slopes = q.clone() * difference.clone().sign();
    let sorted = slopes.clone() - q * slopes.sum_dim(1);
    let gradient = sorted.zeros_like().narrow(1, 0, of_student).scatter(
        1,
        ids,
        sorted.narrow(1, 0, of_student),
        IndexingUpdateOp::Add,
    );
    let rows = difference.abs().sum_dim(1);
    ValueAndGradient {
        value: (rows * weights.clone().mul_scalar(temperature * temperature))
            .mask_fill(masked, 0.0)
            .sum(),
        gradient: (gradient * weights.mul_scalar(temperature)).mask_fill(everywhere, 0.0),
    }
}

/// Columns of 0 up to a width.
fn filled_up(x: Tensor<2>, width: usize) -> Tensor<2> {
    let [rows, columns] = x.dims();
    if columns == width {
        return x;
    }
    let rest = Tensor::zeros([rows, width - columns], &x.device());
    Tensor::cat(vec![x.clone(), in_format_of(rest, &x)], 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_within, logits, weights};
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_agree(
            tokens in 1usize..6, of_student in 1usize..50, of_teacher in 1usize..50,
            seed in any::<u64>(), scale in 0.1f32..6.0, temperature in 0.5f64..3.0,
        ) {
            let student = logits([tokens, of_student], seed, scale);
            let teacher = logits([tokens, of_teacher], seed ^ 1, scale);
            let weights = weights(tokens, seed);
            let [native, composed] = [uld, composed].map(|form| {
                form(student.clone(), teacher.clone(), weights.clone(), temperature)
            });
            let t = temperature as f32;
            let exact = 1e-5 * (1.0 + scale / t) * tokens as f32;
            assert_within(native.value.into_data(), composed.value.into_data(), exact * t * t);
            assert_within(native.gradient.into_data(), composed.gradient.into_data(), exact * t);
        }

        /// The order of the ids, of either side, changes nothing; and what is alike is at rest.
        #[test]
        fn the_ids_have_no_names(seed in any::<u64>(), scale in 0.1f32..40.0) {
            let student = logits([2, 33], seed, scale);
            let weights = Tensor::<1>::from_data([0.5, 0.5], &Device::flex());
            for form in [uld, composed] {
                let result = form(student.clone(), student.clone().flip([1]), weights.clone(), 1.5);
                prop_assert_eq!(result.value.into_scalar::<f32>(), 0.0);
                prop_assert!(result.gradient.into_data().iter::<f32>().all(|g| g == 0.0));
            }
        }
    }

    #[test]
    fn the_numbers_of_a_known_example() {
        let device = Device::flex();
        // q = (.2, .7, .1) and p = (.4, .6), so |.7 - .6| + |.2 - .4| + .1; the signs are +, -, +.
        let student = Tensor::<2>::from_data([[0.2f32, 0.7, 0.1]], &device).log();
        let teacher = Tensor::<2>::from_data([[0.4f32, 0.6]], &device).log();
        let one = Tensor::<1>::from_data([1.0], &device);
        for form in [uld, composed] {
            let result = form(student.clone(), teacher.clone(), one.clone(), 1.0);
            assert_within(result.value.into_data(), TensorData::from([0.4f32]), 1e-6);
            // The slopes are (-.2, .7, .1), whose sum is .6.
            let expected = TensorData::from([[-0.2 - 0.12f32, 0.7 - 0.42, 0.1 - 0.06]]);
            assert_within(result.gradient.into_data(), expected, 1e-6);
            let turned = form(teacher.clone(), student.clone(), one.clone(), 1.0);
            assert_within(turned.value.into_data(), TensorData::from([0.4f32]), 1e-6);
        }
    }

    #[test]
    fn extreme_logits_stay_finite_and_a_token_of_weight_zero_contributes_nothing() {
        let device = Device::flex();
        let nan = f32::NAN;
        let student = [[1e4, -1e4, 0.0, f32::NEG_INFINITY], [nan; 4]];
        let teacher = [[0.0, 0.0, f32::NEG_INFINITY], [nan; 3]];
        let student = Tensor::<2>::from_data(student, &device);
        let teacher = Tensor::<2>::from_data(teacher, &device);
        let weights = Tensor::<1>::from_data([1.0, 0.0], &device);
        for form in [uld, composed] {
            let result = form(student.clone(), teacher.clone(), weights.clone(), 1.0);
            assert_eq!(result.value.into_scalar::<f32>(), 1.0);
            assert!(result.gradient.into_data().iter::<f32>().all(|g| g == 0.0));
        }
    }
}
