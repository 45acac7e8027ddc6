//! What an optimizer does with a matrix of 4 million weights.

use crate::case::{Case, Compared, FORWARD, Form, squares};
use crate::numbers::numbers;
use burn::tensor::{Device, Tensor};
use distily::kernels::{AdamWStep, LionStep, adamw, lion, sum_of_squares};

const SHAPE: [usize; 2] = [1024, 4096];
const LEARNING_RATE: f64 = 1e-3;
const DECAY: f32 = 0.1;

pub(crate) fn cases() -> impl Iterator<Item = Case> {
    let case = |kernel, [ours, composed]: [Form; 2]| Case {
        kernel,
        shape: format!("{}x{}", SHAPE[0], SHAPE[1]),
        pass: FORWARD,
        ours,
        composed,
    };
    [
        case("adamw", adamw_forms()),
        case("lion", lion_forms()),
        case("sum_of_squares", sum_forms()),
    ]
    .into_iter()
}

fn parameter() -> Tensor<2> {
    numbers(SHAPE, 1, 1.0, &Device::flex())
}

fn gradient() -> Tensor<2> {
    numbers(SHAPE, 2, 1e-2, &Device::flex())
}

/// A form that goes on from what it made of the parameter and of the optimizer's state before.
fn stepping<S: Clone + 'static>(
    state: S,
    step: impl Fn(Tensor<2>, Tensor<2>, S) -> (Tensor<2>, S) + 'static,
) -> Form {
    let gradient = gradient();
    let mut held = Some((parameter(), state));
    Box::new(move || {
        // Taken out, so that the step has no second holder to copy for.
        let Some((parameter, state)) = held.take() else {
            return Vec::new();
        };
        let (parameter, state) = step(parameter, gradient.clone(), state);
        held = Some((parameter.clone(), state));
        vec![squares(parameter)]
    })
}

fn adamw_forms() -> [Form; 2] {
    let step = AdamWStep {
        time: 1,
        learning_rate: LEARNING_RATE,
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-8,
        weight_decay: DECAY,
        gradient_factor: 1.0,
    };
    let zeros = [parameter().zeros_like(), parameter().zeros_like()];
    let ours = stepping(zeros.clone(), move |parameter, gradient, moments| {
        adamw(parameter, gradient, moments, step)
    });
    let composed = stepping(zeros, move |parameter, gradient, [mean, square]| {
        let [beta_1, beta_2] = [step.beta_1, step.beta_2];
        let mean = mean.mul_scalar(beta_1) + gradient.clone().mul_scalar(1.0 - beta_1);
        let square = square.mul_scalar(beta_2) + gradient.square().mul_scalar(1.0 - beta_2);
        let deviation = square.clone().div_scalar(1.0 - beta_2).sqrt();
        let update = mean.clone().div_scalar(1.0 - beta_1) / deviation.add_scalar(step.epsilon);
        let kept = parameter.mul_scalar(1.0 - LEARNING_RATE * f64::from(DECAY));
        (kept - update.mul_scalar(LEARNING_RATE), [mean, square])
    });
    [ours, composed]
}

fn lion_forms() -> [Form; 2] {
    let step = LionStep {
        learning_rate: LEARNING_RATE,
        beta_1: 0.9,
        beta_2: 0.99,
        weight_decay: DECAY,
        gradient_factor: 1.0,
    };
    let zeros = parameter().zeros_like();
    let ours = stepping(zeros.clone(), move |parameter, gradient, momentum| {
        lion(parameter, gradient, momentum, step)
    });
    let composed = stepping(zeros, move |parameter, gradient, momentum: Tensor<2>| {
        let blended =
            |beta: f32| momentum.clone().mul_scalar(beta) + gradient.clone().mul_scalar(1.0 - beta);
        let update = blended(step.beta_1).sign().mul_scalar(LEARNING_RATE);
        let kept = parameter.mul_scalar(1.0 - LEARNING_RATE * f64::from(DECAY));
        (kept - update, blended(step.beta_2))
    });
    [ours, composed]
}

fn sum_forms() -> [Form; 2] {
    let (x, of_composed) = (gradient(), gradient());
    let value = |value: f64| -> Vec<Compared> { vec![Box::new(move || value)] };
    [
        Box::new(move || value(sum_of_squares(&x))),
        Box::new(move || {
            let sum = of_composed.clone().square().sum();
            value(f64::from(sum.into_scalar::<f32>()))
        }),
    ]
}
