//! Steps of optimizers, in place.

use super::lanes::vectorized;
use super::tensors::{elements, into_elements, slice};
use crate::{AdamWStep, LionStep};
use burn::backend::Flex;
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Elements that one core takes at a time: 64 KiB of each tensor.
const CHUNK: usize = 16 * 1024;

pub(crate) fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let gradient = elements(&gradient);
    // Without a second holder nothing is copied.
    let mut parameter = into_elements(parameter);
    let [mut mean, mut square] = moments.map(into_elements);
    let [of_mean, of_square] = step.corrections();
    let (factor, decay) = (step.gradient_factor as f32, step.decay() as f32);
    let rate = (step.learning_rate / of_mean) as f32;
    let of_root = of_square.sqrt().recip() as f32;
    parameter
        .storage_mut::<f32>()
        .par_chunks_mut(CHUNK)
        .zip(mean.storage_mut::<f32>().par_chunks_mut(CHUNK))
        .zip(square.storage_mut::<f32>().par_chunks_mut(CHUNK))
        .zip(slice(&gradient).par_chunks(CHUNK))
        .for_each(|(((parameter, mean), square), gradient)| {
            vectorized!({
                let moments = mean.iter_mut().zip(square);
                for ((p, (m, v)), &g) in parameter.iter_mut().zip(moments).zip(gradient) {
                    let g = factor * g;
                    *m = step.beta_1 * *m + (1.0 - step.beta_1) * g;
                    *v = step.beta_2 * *v + (1.0 - step.beta_2) * g * g;
                    *p = decay * *p - rate * *m / (v.sqrt() * of_root + step.epsilon);
                }
            });
        });
    let tensor = Tensor::from_primitive::<Flex>;
    (tensor(parameter), [tensor(mean), tensor(square)])
}

pub(crate) fn lion<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    momentum: Tensor<D>,
    step: LionStep,
) -> (Tensor<D>, Tensor<D>) {
    let gradient = elements(&gradient);
    let (mut parameter, mut momentum) = (into_elements(parameter), into_elements(momentum));
    let (factor, decay) = (step.gradient_factor as f32, step.decay() as f32);
    let rate = step.learning_rate as f32;
    parameter
        .storage_mut::<f32>()
        .par_chunks_mut(CHUNK)
        .zip(momentum.storage_mut::<f32>().par_chunks_mut(CHUNK))
        .zip(slice(&gradient).par_chunks(CHUNK))
        .for_each(|((parameter, momentum), gradient)| {
            vectorized!({
                for ((p, m), &g) in parameter.iter_mut().zip(momentum).zip(gradient) {
                    let g = factor * g;
                    let update = step.beta_1 * *m + (1.0 - step.beta_1) * g;
                    // The sign is 0 where the update is; `signum` has none.
                    let sign = if update == 0.0 { 0.0 } else { update.signum() };
                    *p = decay * *p - rate * sign;
                    *m = step.beta_2 * *m + (1.0 - step.beta_2) * g;
                }
            });
        });
    let tensor = Tensor::from_primitive::<Flex>;
    (tensor(parameter), tensor(momentum))
}

#[cfg(test)]
mod tests {
    use super::super::tensors::plain;
    use super::*;

    fn pointer(tensor: &Tensor<1>) -> *const f32 {
        slice(&elements(tensor)).as_ptr()
    }

    #[test]
    fn the_only_holder_gets_its_tensors_back() {
        let tensor = || plain(vec![1.0; 8], [8]);
        let (parameter, moments) = (tensor(), [tensor(), tensor()]);
        let before = [&parameter, &moments[0], &moments[1]].map(pointer);
        let step = AdamWStep {
            time: 1,
            learning_rate: 0.1,
            beta_1: 0.9,
            beta_2: 0.9,
            epsilon: 1e-8,
            weight_decay: 0.0,
            gradient_factor: 1.0,
        };
        let (parameter, moments) = crate::adamw(parameter, tensor(), moments, step);
        assert_eq!([&parameter, &moments[0], &moments[1]].map(pointer), before);

        let step = LionStep {
            learning_rate: 0.1,
            beta_1: 0.9,
            beta_2: 0.9,
            weight_decay: 0.0,
            gradient_factor: 1.0,
        };
        let [momentum, _] = moments;
        let (parameter, momentum) = crate::lion(parameter, tensor(), momentum, step);
        assert_eq!([&parameter, &momentum].map(pointer), before[..2]);
    }
}
