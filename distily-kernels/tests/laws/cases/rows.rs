use super::{Case, gradient, leaf, numbers, pulled_back};
use distily_kernels::{gelu_tanh, layer_norm, rms_norm, rotary, silu_gate};

const EPSILON: f64 = 1e-5;

/// Norms, activations and positions over rows of numbers in [-`magnitude`, `magnitude`).
pub(crate) fn rows(count: usize, width: usize, seed: u64, magnitude: f32) -> Vec<Case> {
    let shape = [count, width];
    let x = numbers(shape, seed, magnitude);
    let other = numbers(shape, seed ^ 1, 1.0);
    let weight = numbers([1, width], seed ^ 2, 1.0);
    let bias = numbers([1, width], seed ^ 3, 1.0);
    let upstream = numbers(shape, seed ^ 4, 1.0);
    let inverse = 1.0 / f64::from(magnitude).max(EPSILON.sqrt());
    let case = |name: &str, run, terms: &[f64]| Case {
        name: format!("{name} {shape:?} of {magnitude}"),
        run,
        terms: terms.to_vec(),
    };
    vec![
        case(
            "rms_norm",
            {
                let (x, weight, upstream) = (x.clone(), weight.clone(), upstream.clone());
                Box::new(move |format| {
                    let (x, weight) = (leaf(&x, format), leaf(&weight, format));
                    let output = rms_norm(x.clone(), weight.clone().squeeze_dim(0), EPSILON);
                    let gradients = pulled_back(&output, &upstream);
                    let of = [&x, &weight].map(|x| gradient(x, &gradients));
                    [output.into_data()].into_iter().chain(of).collect()
                })
            },
            &[1.0, inverse, 1.0],
        ),
        case(
            "layer_norm",
            {
                let (x, upstream) = (x.clone(), upstream.clone());
                Box::new(move |format| {
                    let [x, weight, bias] = [&x, &weight, &bias].map(|x| leaf(x, format));
                    let row = |x: &burn::tensor::Tensor<2>| x.clone().squeeze_dim(0);
                    let output = layer_norm(x.clone(), row(&weight), row(&bias), EPSILON);
                    let gradients = pulled_back(&output, &upstream);
                    let of = [&x, &weight, &bias].map(|x| gradient(x, &gradients));
                    [output.into_data()].into_iter().chain(of).collect()
                })
            },
            &[1.0, inverse, 1.0, 1.0],
        ),
        case(
            "silu_gate",
            {
                let (x, upstream) = (x.clone(), upstream.clone());
                Box::new(move |format| {
                    let (x, other) = (leaf(&x, format), leaf(&other, format));
                    let output = silu_gate(x.clone(), other.clone());
                    let gradients = pulled_back(&output, &upstream);
                    let of = [&x, &other].map(|x| gradient(x, &gradients));
                    [output.into_data()].into_iter().chain(of).collect()
                })
            },
            &[0.0; 3],
        ),
        case(
            "gelu_tanh",
            {
                let (x, upstream) = (x.clone(), upstream.clone());
                Box::new(move |format| {
                    let x = leaf(&x, format);
                    let output = gelu_tanh(x.clone());
                    let of = gradient(&x, &pulled_back(&output, &upstream));
                    vec![output.into_data(), of]
                })
            },
            &[0.0; 2],
        ),
        case(
            "rotary",
            {
                // Of each row, a token of one head, an odd element stays as it is.
                let angles = numbers([count, 1, width / 2], seed ^ 5, 9.0);
                let heads = [count, 1, 1, width];
                let (x, upstream) = (x.reshape(heads), upstream.reshape(heads));
                Box::new(move |format| {
                    let x = leaf(&x, format);
                    let (cos, sin) = (angles.clone().cos(), angles.clone().sin());
                    let output = rotary(x.clone(), cos, sin);
                    let of = gradient(&x, &pulled_back(&output, &upstream));
                    vec![output.into_data(), of]
                })
            },
            &[0.0; 2],
        ),
    ]
}
