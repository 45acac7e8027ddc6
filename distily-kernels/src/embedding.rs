use burn::tensor::{Int, Tensor};

/// Rows of a table by id.
///
/// Going backward, on a CPU, the gradient is added in place to what the table got before: the
/// embedding that is the head, too, has no second gradient of its size.
///
/// Shapes: `table` `[vocabulary, width]`, `ids` `[batch, seq]`, the result `[batch, seq, width]`.
///
/// # Panics
///
/// If an id is not below the vocabulary.
pub fn embedding(table: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if crate::native::serves(&table) {
        return crate::native::embedding(table, ids);
    }
    composed(table, ids)
}

fn composed(table: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    burn::tensor::module::embedding(table, ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, leaf};
    use burn::tensor::Device;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        /// Of a table that is the head, too, and of one that is not.
        #[test]
        fn both_forms_agree(
            ids in vec(0i32..9, 1..40), width in 1usize..20, seed in any::<u64>(), tied in any::<bool>(),
        ) {
            let tokens = ids.len();
            let table = leaf([9, width], seed, 1.0);
            let mix = leaf([1, tokens, width], seed ^ 1, 1.0).detach();
            let ids = Tensor::<1, Int>::from_data(ids.as_slice(), &Device::flex());
            let results = [embedding, composed].map(|form| {
                let rows = form(table.clone(), ids.clone().reshape([1, tokens]));
                let mut loss = (rows.clone() * mix.clone()).sum();
                if tied {
                    loss = loss + rows.clone().squeeze_dim::<2>(0).matmul(table.clone().transpose()).sum();
                }
                let gradients = loss.backward();
                (rows, table.grad(&gradients).unwrap())
            });
            let [native, composed] = results;
            prop_assert_eq!(native.0.into_data(), composed.0.into_data());
            assert_close(native.1.into_data(), composed.1.into_data(), tokens as f32);
        }
    }

    #[test]
    fn a_table_outside_any_graph_has_none() {
        let table = leaf([3, 2], 1, 1.0).without_autodiff();
        let ids = Tensor::<2, Int>::from_data([[2, 0]], &Device::flex());
        assert!(!embedding(table, ids).is_tracked());
    }
}
