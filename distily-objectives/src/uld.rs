use burn::tensor::Tensor;

/// Universal logit distillation: Σ weight · T² · Σ_rank |p_rank - q_rank|, where p and q are the
/// softmax of the teacher's and the student's logits over the temperature T, each sorted from its
/// likeliest id down, and the shorter one filled up with zeros (Boizard et al., 2402.12030). It
/// compares how sure both are and not of what, so that the vocabularies may be any two: give it
/// cross entropy with the labels as company.
///
/// Shapes: `student` `[tokens, v_s]`, `teacher` `[tokens, v_t]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. The gradient is taken in closed form with
/// the value, and is 0 between ranks that are equal; the teacher gets none.
///
/// # Panics
///
/// If the tokens are not as many.
pub fn uld(
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> Tensor<1> {
    distily_kernels::uld(student.clone(), teacher, weights, temperature).attached_to(student)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CrossEntropy;
    use crate::features::testing::{Law, laws, laws_of, random, some_tokens};
    use crate::output_pass::output_pass;
    use crate::testing::Scene;
    use crate::{SoftLoss, SoftTerm};
    use distily_core::Term;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_the_laws(
            seed in any::<u64>(), tokens in 1usize..6, of_student in 1usize..9,
            of_teacher in 1usize..9, temperature in 0.5f64..3.0,
        ) {
            let uld = |s, t, w| uld(s, t, w, temperature);
            laws(&uld, [tokens, of_student], seed, &Law::ALL);
            let student = random([tokens, of_student], seed);
            let teacher = random([tokens, of_teacher], seed ^ 1);
            laws_of(&uld, student, teacher, &some_tokens(tokens, seed));
        }
    }

    /// Vocabularies that can't be one are compared whole, also of the labels that only one side has.
    #[test]
    fn two_vocabularies_are_compared_whole() {
        let scene = Scene::new([1100, 20], 5);
        let term = SoftTerm {
            name: "uld".to_owned(),
            weight: 1.0.into(),
            temperature: 2.0,
            temperature_squared: false,
            loss: SoftLoss::Uld,
        };
        let labels = CrossEntropy {
            name: "cross_entropy".to_owned(),
            weight: 1.0.into(),
        };
        let pass = output_pass(
            &[(1.0, &term), (1.0, &labels)],
            &scene.comparison(0),
            Some(2),
        );
        let values = pass.unwrap().values;
        let (student, teacher, weights) = scene.logits();
        let expected = [
            uld(student.clone(), teacher, weights.clone(), 2.0).div_scalar(4.0),
            crate::cross_entropy(student, scene.targets(), weights),
        ];
        for (value, expected) in values.into_iter().zip(expected) {
            let (value, expected) = (value.into_scalar::<f32>(), expected.into_scalar::<f32>());
            assert!((value - expected).abs() < 1e-5, "{value} {expected}");
        }
    }

    #[test]
    fn a_teacher_known_at_some_ids_alone_is_refused() {
        let scene = Scene::new([11, 11], 5).with_sparse_teacher();
        let term = SoftTerm {
            name: "my_uld".to_owned(),
            weight: 1.0.into(),
            temperature: 1.0,
            temperature_squared: true,
            loss: SoftLoss::Uld,
        };
        let error = term.value(&scene.comparison(0)).unwrap_err().to_string();
        assert!(
            error.starts_with("my_uld") && error.contains("use forward_kl"),
            "{error}"
        );
    }
}
