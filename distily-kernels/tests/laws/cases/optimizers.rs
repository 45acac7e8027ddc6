use super::{Case, numbers};
use burn::tensor::TensorData;
use distily_kernels::{
    AdamWStep, LionStep, adamw, add_product, lion, pairwise_l1, pairwise_l1_gradient,
    sum_of_squares,
};

/// Steps of optimizers and what else is done with matrices, outside any graph.
pub(crate) fn optimizers(rows: usize, columns: usize, seed: u64) -> Vec<Case> {
    let shape = [rows, columns];
    let [parameter, gradient, mean, square] = [0, 1, 2, 3].map(|n| numbers(shape, seed ^ n, 1.0));
    let square = square.square();
    let case = |name: &str, run, terms| Case {
        name: format!("{name} {shape:?}"),
        run,
        terms,
    };
    let adamw_step = AdamWStep {
        time: 1 + (seed % 99) as usize,
        learning_rate: 0.01,
        beta_1: 0.9,
        beta_2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
        gradient_factor: 0.5,
    };
    let lion_step = LionStep {
        learning_rate: 0.01,
        beta_1: 0.9,
        beta_2: 0.99,
        weight_decay: 0.1,
        gradient_factor: 0.5,
    };
    let few = 1 + columns % 7;
    let (sum, rhs) = (
        numbers([columns, few], seed ^ 4, 1.0),
        numbers([rows, few], seed ^ 5, 1.0),
    );
    let (other, upstream) = (numbers([few, columns], seed ^ 6, 1.0), rhs.clone());
    let lhs = parameter.clone();
    let (a, x) = (parameter.clone(), parameter.clone());
    vec![
        case(
            "adamw",
            {
                let (parameter, gradient, mean) =
                    (parameter.clone(), gradient.clone(), mean.clone());
                Box::new(move |format| {
                    let [parameter, gradient, mean, square] =
                        [&parameter, &gradient, &mean, &square].map(|x| x.clone().cast(format));
                    let (parameter, [mean, square]) =
                        adamw(parameter, gradient, [mean, square], adamw_step);
                    [parameter, mean, square].map(|x| x.into_data()).to_vec()
                })
            },
            vec![1.0; 3],
        ),
        case(
            "lion",
            Box::new(move |format| {
                let [parameter, gradient, mean] =
                    [&parameter, &gradient, &mean].map(|x| x.clone().cast(format));
                let (parameter, momentum) = lion(parameter, gradient, mean, lion_step);
                vec![parameter.into_data(), momentum.into_data()]
            }),
            vec![1.0; 2],
        ),
        case(
            "sum_of_squares",
            Box::new(move |format| {
                let sum = sum_of_squares(&x.clone().cast(format));
                vec![TensorData::from([sum])]
            }),
            vec![0.0],
        ),
        case(
            "add_product",
            Box::new(move |format| {
                let [sum, lhs, rhs] = [&sum, &lhs, &rhs].map(|x| x.clone().cast(format));
                vec![add_product(sum, lhs, rhs).into_data()]
            }),
            vec![(rows as f64).sqrt()],
        ),
        case(
            "pairwise_l1",
            Box::new(move |format| {
                let [a, b, upstream] = [&a, &other, &upstream].map(|x| x.clone().cast(format));
                let distances = pairwise_l1(a.clone(), b.clone()).into_data();
                vec![distances, pairwise_l1_gradient(a, b, upstream).into_data()]
            }),
            vec![0.0, few as f64],
        ),
    ]
}
