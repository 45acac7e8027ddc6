use crate::in_format_of;
use burn::tensor::{Tensor, module};

/// `x` `[.., inputs]` times a weight `[inputs, outputs]`, plus a bias `[outputs]`: `[.., outputs]`. A weight in
/// another number format is brought into that of `x` (see [`in_format_of`]).
///
/// It is one product of two matrices, whatever the axes of `x`. Given more axes, burn's own `linear` copies
/// every weight that lies the other way: that of a head that is an embedding, and each one going backward.
///
/// # Panics
///
/// If the last axis of `x` is not `inputs`, or `x` has no elements.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let weight = in_format_of(weight, &x);
    let mut shape = x.dims();
    let inputs = shape[D - 1];
    let rows: usize = shape[..D - 1].iter().product();
    shape[D - 1] = weight.dims()[1];
    module::linear(x.reshape([rows, inputs]), weight, bias).reshape(shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, leaf};
    use burn::tensor::FloatDType;

    type Linear = fn(Tensor<3>, Tensor<2>, Option<Tensor<1>>) -> Tensor<3>;

    #[test]
    fn it_is_burns_with_its_gradients() {
        for (rows, lies_other) in [(32, false), (32, true), (3, true)] {
            let x = leaf([2, rows, 5], 1, 1.0);
            let weight = leaf(if lies_other { [7, 5] } else { [5, 7] }, 2, 1.0);
            let bias = leaf([7], 3, 1.0);
            let mix = leaf([2, rows, 7], 4, 1.0).detach();
            let forms: [Linear; 2] = [linear, module::linear];
            let [ours, burns] = forms.map(|form| {
                let lying = match lies_other {
                    true => weight.clone().transpose(),
                    false => weight.clone(),
                };
                let out = form(x.clone(), lying, Some(bias.clone()));
                let gradients = (out.clone() * mix.clone()).sum().backward();
                [
                    out.into_data(),
                    x.grad(&gradients).unwrap().into_data(),
                    weight.grad(&gradients).unwrap().into_data(),
                    bias.grad(&gradients).unwrap().into_data(),
                ]
            });
            for (ours, burns) in ours.into_iter().zip(burns) {
                assert_close(ours, burns, 1.0);
            }
        }
    }

    #[test]
    fn one_row_and_another_format() {
        let (x, weight) = (
            leaf([1, 2, 5], 1, 1.0).inner(),
            leaf([5, 7], 2, 1.0).inner(),
        );
        let all = linear(x.clone(), weight.clone(), None);
        let row = linear(
            x.clone().slice([0..1, 1..2]).flatten::<1>(0, 2),
            weight.clone(),
            None,
        );
        let last = all.slice([0..1, 1..2]).flatten::<1>(0, 2);
        assert_close(row.into_data(), last.into_data(), 1.0);
        let narrow = weight.cast(FloatDType::BF16);
        let wide = narrow.clone().cast(FloatDType::F32);
        let expected = linear(x.clone(), wide, None);
        assert_close(
            linear(x, narrow, None).into_data(),
            expected.into_data(),
            1.0,
        );
    }
}
