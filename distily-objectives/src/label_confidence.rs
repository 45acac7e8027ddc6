use crate::counting::Counting;
use crate::default_chunk;
use crate::output_pass::TeacherRows;
use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor, TensorData};
use distily_core::{ObjectiveError, Taps, Teacher, TeacherTokens, TokenBatch};
use distily_kernels::widened;

/// What errors name.
const NAME: &str = "label_confidence";

/// How likely a teacher finds the labels: the mean over the scored predictions of some calibration
/// batches of the probability that it gives to the id that follows. It is the share of the reverse
/// KL in BitDistiller's CAKLD (2402.10631, section 3.3), which takes the mean of each sequence
/// first: give it to [`Divergence::MixedKl`](crate::Divergence::MixedKl).
///
/// Logits are computed a chunk of tokens at a time, unless the teacher answers with all of them.
///
/// # Errors
///
/// [`ObjectiveError`]: a teacher that can't answer, or knows its distribution at some ids alone; no
/// prediction that is scored.
pub fn label_confidence<'a>(
    teacher: &dyn Teacher,
    batches: impl IntoIterator<Item = &'a TokenBatch>,
) -> Result<f64, ObjectiveError> {
    let mismatch = |problem: &str| ObjectiveError::Mismatch {
        term: NAME.to_owned(),
        problem: problem.to_owned(),
    };
    let chunk = default_chunk(teacher.shape().vocabulary);
    let (mut sum, mut scored) = (0.0, 0);
    for batch in batches {
        let mask = batch.prediction_mask();
        let counting = Counting::of(&mask);
        if counting.is_empty() {
            continue;
        }
        let answer = teacher.answer(batch, &Taps::none())?;
        let rows = TeacherRows::new(&answer.distribution, &counting)?;
        let labels = batch.targets().into_iter().zip(mask);
        let labels: Vec<i64> = labels
            .filter_map(|(label, on)| on.then_some(i64::from(label)))
            .collect();
        for (at, labels) in labels.chunks(chunk).enumerate() {
            let start = at * chunk;
            let TeacherTokens::Logits(logits) = rows.of(start..start + labels.len()) else {
                return Err(mismatch(
                    "needs the whole distribution, but the teacher is known at some ids alone: ask the live teacher",
                ));
            };
            let shape = [labels.len(), 1];
            let labels = TensorData::new(labels.to_vec(), shape);
            let labels = Tensor::<2, Int>::from_data(labels, &logits.device());
            let probabilities = softmax(widened(logits), 1).gather(1, labels);
            sum += f64::from(probabilities.sum().into_scalar::<f32>());
        }
        scored += counting.len();
    }
    if scored == 0 {
        return Err(mismatch(
            "no prediction of the batches is scored: give batches with tokens that count",
        ));
    }
    Ok(sum / scored as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::on_cpu;
    use crate::testing::Scene;
    use burn::tensor::{Device, FloatDType};
    use distily_core::{Answer, Distribution, Features, ForwardError, ModelShape};
    use std::sync::Arc;

    /// Says the same whatever it is asked.
    #[derive(Debug, Clone)]
    struct Fixed(Distribution, usize);

    impl Teacher for Fixed {
        fn shape(&self) -> ModelShape {
            ModelShape {
                vocabulary: self.1,
                ..ModelShape::default()
            }
        }

        fn answer(&self, _: &TokenBatch, _: &Taps) -> Result<Answer, ForwardError> {
            Ok(Answer {
                distribution: self.0.clone(),
                features: Features::default(),
            })
        }

        fn on(&self, _: &Device) -> Arc<dyn Teacher> {
            Arc::new(self.clone())
        }
    }

    #[test]
    fn it_is_the_mean_over_all_predictions_of_all_batches() {
        let device = Device::default();
        // The last position of a row predicts nothing, whatever stands there.
        let nan = f32::NAN;
        let p = [[[0.1f32, 0.6, 0.3], [0.2, 0.2, 0.6], [nan, nan, nan]]];
        let logits = Tensor::<3>::from_data(p, &device).log();
        let teacher = Fixed(Distribution::Logits(logits), 3);
        let whole = TokenBatch::new(vec![0, 1, 2], [1, 3]).unwrap(); // 0.6 and 0.6
        let masked = TokenBatch::new(vec![0, 2, 1], [1, 3]).unwrap(); // 0.3 and 0.2
        let masked = masked.with_loss_mask(vec![true, true, false]).unwrap();
        let nothing = masked.clone().with_loss_mask(vec![false; 3]).unwrap();
        let confidence = label_confidence(&teacher, [&whole, &masked, &nothing]).unwrap();
        assert!((confidence - 0.5).abs() < 1e-6, "{confidence}");
        let error = label_confidence(&teacher, [&nothing])
            .unwrap_err()
            .to_string();
        assert!(error.contains("no prediction"), "{error}");
    }

    /// Of more predictions than a chunk has, through a head, in f32 and in half precision.
    #[test]
    fn chunks_change_nothing() {
        let vocabulary = 500_000;
        assert!(default_chunk(vocabulary) == 16);
        let (length, width) = (40, 3);
        let hidden = crate::features::testing::random::<3>([1, length, width], 1);
        let head = crate::features::testing::random::<2>([vocabulary, width], 2) * 3.0;
        let head = distily_core::Head::by_vocabulary(head);
        let ids = (0..length as u32).map(|at| at * 1000).collect();
        let batch = TokenBatch::new(ids, [1, length]).unwrap();
        let whole = Fixed(
            Distribution::Logits(head.logits(hidden.clone())),
            vocabulary,
        );
        let expected = label_confidence(&whole, [&batch]).unwrap();
        let shares = softmax(head.logits(hidden.clone()).flatten::<2>(0, 1), 1);
        let naive: f64 = (1..length)
            .map(|at| {
                shares
                    .clone()
                    .slice([at - 1..at, at * 1000..at * 1000 + 1])
                    .into_scalar::<f64>()
            })
            .sum();
        assert!((expected - naive / (length - 1) as f64).abs() < 1e-6 * expected);
        for (hidden, exact) in [
            (hidden.clone(), 1e-6),
            (hidden.cast(FloatDType::BF16), 0.05),
        ]
        .into_iter()
        .take(if on_cpu() { 2 } else { 1 })
        {
            let teacher = Fixed(
                Distribution::Hidden(hidden, Box::new(head.clone())),
                vocabulary,
            );
            let confidence = label_confidence(&teacher, [&batch]).unwrap();
            assert!(
                (confidence - expected).abs() < exact * expected,
                "{confidence} {expected}"
            );
        }
    }

    #[test]
    fn a_recording_does_not_know() {
        let scene = Scene::new([11, 11], 1).with_sparse_teacher();
        let teacher = Fixed(scene.teacher.distribution.clone(), 11);
        let error = label_confidence(&teacher, [&scene.batch])
            .unwrap_err()
            .to_string();
        assert!(error.contains("at some ids alone"), "{error}");
    }
}
