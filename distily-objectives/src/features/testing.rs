//! The laws of the losses on features, as tests of any of them.

use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};

/// Pseudo-random numbers in [-1, 1), from a seed alone.
pub(crate) fn noise(count: usize, mut state: u64) -> Vec<f32> {
    (0..count)
        .map(|_| {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// A tensor of noise, outside any graph.
pub(crate) fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let values = noise(shape.iter().product(), seed);
    Tensor::from_data(TensorData::new(values, shape), &Device::default())
}

/// Which tokens count: the first, and about two thirds of the others.
pub(crate) fn some_tokens(tokens: usize, seed: u64) -> Vec<bool> {
    let mut counts: Vec<bool> = noise(tokens, seed ^ 7).iter().map(|x| *x > -0.3).collect();
    counts[0] = true;
    counts
}

/// The value and the gradient of a loss at `x`.
pub(crate) fn value_and_gradient<const D: usize>(
    loss: &dyn Fn(Tensor<D>) -> Tensor<1>,
    x: Tensor<D>,
) -> (f64, Tensor<D>) {
    let x = Tensor::from_inner(x).require_grad();
    let loss = loss(x.clone());
    let gradient = x.grad(&loss.backward()).expect("a gradient");
    (loss.into_scalar::<f64>(), gradient)
}

pub(crate) fn largest<const D: usize>(x: Tensor<D>) -> f64 {
    x.into_data()
        .iter::<f64>()
        .map(f64::abs)
        .fold(0.0, |largest, x| {
            if x.is_nan() || largest.is_nan() {
                f64::NAN
            } else {
                largest.max(x)
            }
        })
}

/// Whether the tests run on the CPU. GPUs lack f64 and bf16, or only say that they have them.
pub(crate) fn on_cpu() -> bool {
    Device::default() == Device::flex()
}

/// The gradient of `loss` at `x` is that of finite differences, taken in f64.
pub(crate) fn assert_gradient<const D: usize>(loss: &dyn Fn(Tensor<D>) -> Tensor<1>, x: Tensor<D>) {
    const STEP: f64 = 1e-5;
    if !on_cpu() {
        return;
    }
    let x = x.cast(FloatDType::F64);
    let (_, gradient) = value_and_gradient(loss, x.clone());
    let gradient: Vec<f64> = gradient.into_data().iter::<f64>().collect();
    let values: Vec<f64> = x.to_data().iter::<f64>().collect();
    for (at, gradient) in gradient.into_iter().enumerate() {
        let moved = |by: f64| {
            let mut values = values.clone();
            values[at] += by;
            let data = TensorData::new(values, x.shape());
            let options = (&x.device(), DType::F64);
            loss(Tensor::from_data(data, options)).into_scalar::<f64>()
        };
        let difference = |step| (moved(step) - moved(-step)) / (2.0 * step);
        // Where a shorter step says something else, that is how exact they are.
        let (difference, shorter) = (difference(STEP), difference(STEP / 2.0));
        let exact = 1e-5 * (1.0 + difference.abs()) + (difference - shorter).abs();
        assert!(
            (gradient - difference).abs() <= exact,
            "element {at}: the gradient is {gradient}, finite differences say {difference}"
        );
    }
}

/// What a loss on `[tokens, width]` may promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Law {
    /// It is 0, with a gradient of 0, for equals.
    ZeroForEquals,
    /// The parts of a batch add up to the whole.
    Additive,
}

impl Law {
    pub(crate) const ALL: [Self; 2] = [Self::ZeroForEquals, Self::Additive];
}

type RowLoss<'a> = &'a dyn Fn(Tensor<2>, Tensor<2>, Tensor<1>) -> Tensor<1>;

/// Tests the laws that hold for all, and those that are promised.
pub(crate) fn laws(loss: RowLoss<'_>, shape: [usize; 2], seed: u64, promised: &[Law]) {
    let (student, teacher) = (random(shape, seed), random(shape, seed ^ 1));
    let counts = some_tokens(shape[0], seed);
    laws_of(loss, student.clone(), teacher.clone(), &counts);
    let weights = crate::mean_over(&counts, &student.device());
    if promised.contains(&Law::ZeroForEquals) {
        let same = student.clone();
        let (value, gradient) =
            value_and_gradient(&|x| loss(x, same.clone(), weights.clone()), student.clone());
        assert!(value.abs() <= 1e-6, "{value} for equals");
        let (_, elsewhere) = value_and_gradient(
            &|x| loss(x, teacher.clone(), weights.clone()),
            student.clone(),
        );
        let (gradient, elsewhere) = (largest(gradient), largest(elsewhere));
        assert!(
            gradient <= 1e-5 * (1.0 + elsewhere),
            "a gradient of {gradient} for equals, and of {elsewhere} elsewhere"
        );
    }
    if promised.contains(&Law::Additive) {
        let whole = loss(student.clone(), teacher.clone(), weights.clone()).into_scalar::<f64>();
        let cut = seed as usize % shape[0];
        let parts: f64 = [(0, cut), (cut, shape[0] - cut)]
            .into_iter()
            .filter(|&(_, tokens)| tokens > 0)
            .map(|(start, tokens)| {
                let part = |x: &Tensor<2>| x.clone().narrow(0, start, tokens);
                let weights = weights.clone().narrow(0, start, tokens);
                loss(part(&student), part(&teacher), weights).into_scalar::<f64>()
            })
            .sum();
        assert!(
            (whole - parts).abs() <= 1e-5 * (1.0 + whole),
            "{whole} {parts}"
        );
    }
}

/// The laws that hold for every loss on rows of any widths.
pub(crate) fn laws_of(loss: RowLoss<'_>, student: Tensor<2>, teacher: Tensor<2>, counts: &[bool]) {
    let device = student.device();
    let weights = crate::mean_over(counts, &device);
    let of_student = |x| loss(x, teacher.clone(), weights.clone());
    let (value, gradient) = value_and_gradient(&of_student, student.clone());
    assert!(value >= -1e-6, "{value}");

    // Masked tokens change nothing, and get no gradient.
    let masked = weights.clone().equal_scalar(0.0).unsqueeze_dim::<2>(1);
    for value_there in [f32::NAN, f32::INFINITY, 1e30] {
        let fill = |x: &Tensor<2>| {
            x.clone()
                .mask_fill(masked.clone().expand(x.shape()), value_there)
        };
        let filled_teacher = fill(&teacher);
        let (filled, of_filled) = value_and_gradient(
            &|x| loss(x, filled_teacher.clone(), weights.clone()),
            fill(&student),
        );
        assert_eq!(filled, value, "{value_there} in masked tokens");
        let there = of_filled
            .clone()
            .mask_fill(masked.clone().bool_not().expand(gradient.shape()), 0.0);
        assert_eq!(largest(there), 0.0, "a gradient of masked tokens");
        let difference = largest(of_filled - gradient.clone());
        assert_eq!(difference, 0.0, "{value_there} in masked tokens");
    }

    // The teacher gets no gradient, wherever it came from.
    let leaf = Tensor::from_inner(teacher.clone()).require_grad();
    let tracked = Tensor::from_inner(student.clone()).require_grad();
    let gradients = loss(tracked, leaf.clone(), weights.clone()).backward();
    assert!(leaf.grad(&gradients).is_none());

    // The order of the tokens changes nothing.
    let backwards: Vec<i32> = (0..counts.len() as i32).rev().collect();
    let backwards = Tensor::<1, Int>::from_data(backwards.as_slice(), &device);
    let turned = loss(
        student.clone().select(0, backwards.clone()),
        teacher.clone().select(0, backwards.clone()),
        weights.clone().select(0, backwards),
    );
    let turned = turned.into_scalar::<f64>();
    assert!(
        (turned - value).abs() <= 1e-4 * (1.0 + value),
        "{turned} {value}"
    );

    // Half precision is finite, and so is a batch of which nothing counts.
    if on_cpu() {
        let half = |x: &Tensor<2>| (x.clone() * 100.0).cast(FloatDType::BF16);
        let (value, gradient) = value_and_gradient(
            &|x| loss(x, half(&teacher), weights.clone()),
            half(&student),
        );
        assert!(value.is_finite() && largest(gradient).is_finite());
    }
    let nothing = weights.clone().zeros_like();
    let (value, gradient) = value_and_gradient(
        &|x| loss(x, teacher.clone(), nothing.clone()),
        student.clone(),
    );
    assert_eq!((value, largest(gradient)), (0.0, 0.0), "nothing counts");

    assert_gradient(&of_student, student);
}
