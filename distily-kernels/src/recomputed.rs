use burn::module::Module;
use burn::tensor::Tensor;

/// `forward` of a module and its input, of which the graph keeps the input alone: going backward, it
/// runs once more (gradient checkpointing; Chen et al., 1604.06174).
///
/// `forward` is a function of the module's parameters and of its input, and the same each time: it
/// draws no numbers, and has no other mode for training, as dropout and batch norms do. On devices without native code it just runs: there, `Device::gradient_checkpointing` is
/// burn's own form, by operation.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor};
/// use distily_kernels::recomputed;
///
/// let device = Device::flex().autodiff();
/// let layer = LinearConfig::new(2, 3).init(&device);
/// let x = Tensor::<2>::from_data([[1.0, 2.0]], &device);
/// let y = recomputed(&layer, x, |layer: &Linear, x| layer.forward(x).tanh());
/// let gradients = y.sum().backward();
/// assert!(layer.weight.val().grad(&gradients).is_some());
/// ```
///
/// # Panics
///
/// If `forward` reads another tensor that gets a gradient: it would get none here.
pub fn recomputed<M: Module + 'static, const D: usize>(
    module: &M,
    x: Tensor<D>,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<D> + Send + Sync + 'static,
) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if crate::native::serves(&x) {
        return crate::native::recomputed(module, x, forward);
    }
    forward(module, x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::leaf;
    use burn::module::{Lora, ModuleVisitor, Param};
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{Device, Gradients};

    #[derive(Module, Debug)]
    struct Net {
        first: Linear,
        second: Linear,
    }

    fn net() -> Net {
        let device = Device::flex().autodiff();
        Net {
            first: LinearConfig::new(4, 6).init(&device),
            second: LinearConfig::new(6, 4).with_bias(false).init(&device),
        }
    }

    fn forward(net: &Net, x: Tensor<2>) -> Tensor<2> {
        net.second.forward(net.first.forward(x.clone()).tanh()) + x
    }

    fn gradients_of(net: &Net, gradients: &Gradients) -> Vec<Option<Vec<f32>>> {
        struct All<'a>(&'a Gradients, Vec<Option<Vec<f32>>>);
        impl ModuleVisitor for All<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let gradient = param.val().grad(self.0);
                self.1
                    .push(gradient.map(|gradient| gradient.into_data().iter().collect()));
            }
        }
        let mut all = All(gradients, Vec::new());
        net.visit(&mut all);
        all.1
    }

    /// Two in a row that share their parameters, of which one may be frozen.
    #[test]
    fn values_and_gradients_are_the_same_bits() {
        for frozen in [false, true] {
            let mut net = net();
            if frozen {
                net.first = net.first.freeze();
            }
            let x = leaf([3, 4], 1, 1.0);
            let mix = leaf([3, 4], 2, 1.0).without_autodiff();
            let run = |twice: &dyn Fn(Tensor<2>) -> Tensor<2>| {
                let y = twice(x.clone());
                let gradients = (y.clone() * Tensor::from_inner(mix.clone()))
                    .sum()
                    .backward();
                let of_x = x.grad(&gradients).unwrap().into_data();
                (y.into_data(), of_x, gradients_of(&net, &gradients))
            };
            let plain = run(&|x| forward(&net, forward(&net, x)));
            let again = run(&|x| recomputed(&net, recomputed(&net, x, forward), forward));
            assert_eq!(plain, again);
            assert_eq!(
                plain.2.iter().filter(|of| of.is_some()).count(),
                if frozen { 1 } else { 3 }
            );
        }
    }

    /// What is trained of a module with adapters are these, beside a base that is not.
    #[test]
    fn adapters_are_parameters() {
        let net = net().apply_lora(Lora::new(2, 4.0));
        let x = leaf([3, 4], 1, 1.0);
        let of = |y: Tensor<2>| gradients_of(&net, &y.square().sum().backward());
        let plain = of(forward(&net, x.clone()));
        assert!(plain.iter().any(Option::is_some) && plain.iter().any(Option::is_none));
        assert_eq!(of(recomputed(&net, x, forward)), plain);
    }

    #[test]
    #[should_panic(expected = "detach")]
    fn what_forward_reads_elsewhere_would_get_no_gradient() {
        let (x, other) = (leaf([3, 4], 1, 1.0), leaf([3, 4], 2, 1.0));
        recomputed(&net(), x, move |net, x| forward(net, x) * other.clone());
    }

    #[test]
    fn an_input_without_a_graph_gets_no_gradient_and_a_frozen_module_has_no_graph() {
        let net = net();
        let x = leaf([3, 4], 1, 1.0).without_autodiff();
        let y = recomputed(&net, x.clone(), forward);
        assert!(
            gradients_of(&net, &y.sum().backward())
                .iter()
                .all(Option::is_some)
        );
        assert!(!recomputed(&net.freeze(), x, forward).is_tracked());
    }
}
