use crate::OptimizerConfig;
use burn::module::Module;
use burn::optim::{
    AdamWState, AdaptiveMomentumState, GradientsParams, LionState, ModuleOptimizer,
    Optimizer as OfParameter,
};
use burn::tensor::{Device, Tensor};
use distily_kernels::{AdamWStep, LionStep, adamw, lion};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An optimizer of a module, with a factor on all gradients of a step: clipping them costs no pass
/// over memory. Its state, and so its record, is that of burn's optimizer of the same name.
pub(crate) struct Optimizer {
    of_module: ModuleOptimizer,
    gradient_factor: GradientFactor,
}

impl fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Optimizer")
    }
}

impl Optimizer {
    pub(crate) fn new(config: OptimizerConfig) -> Self {
        let gradient_factor = GradientFactor::default();
        let of_module = match config {
            OptimizerConfig::AdamW {
                beta_1,
                beta_2,
                epsilon,
                weight_decay,
            } => ModuleOptimizer::from(AdamW {
                beta_1,
                beta_2,
                epsilon,
                weight_decay,
                gradient_factor: gradient_factor.clone(),
            }),
            OptimizerConfig::Lion {
                beta_1,
                beta_2,
                weight_decay,
            } => ModuleOptimizer::from(Lion {
                beta_1,
                beta_2,
                weight_decay,
                gradient_factor: gradient_factor.clone(),
            }),
        };
        Self {
            of_module,
            gradient_factor,
        }
    }

    /// One step of every parameter that has a gradient.
    pub(crate) fn step<M: Module>(
        &mut self,
        learning_rate: f64,
        gradient_factor: f64,
        module: M,
        gradients: GradientsParams,
    ) -> M {
        self.gradient_factor.set(gradient_factor);
        self.of_module.step(learning_rate, module, gradients)
    }
}

/// burn gives each parameter its gradient and the learning rate; what else there is of a step, its
/// optimizers share.
#[derive(Debug, Clone, Default)]
struct GradientFactor(Arc<AtomicU64>);

impl GradientFactor {
    fn set(&self, factor: f64) {
        self.0.store(factor.to_bits(), Ordering::Relaxed);
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Clone)]
struct AdamW {
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    weight_decay: f32,
    gradient_factor: GradientFactor,
}

impl OfParameter for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: f64,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        let before = state.map_or_else(
            || AdaptiveMomentumState::new(0, gradient.zeros_like(), gradient.zeros_like()),
            |state| state.momentum,
        );
        let time = before.time + 1;
        let step = AdamWStep {
            time,
            learning_rate,
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
            gradient_factor: self.gradient_factor.get(),
        };
        let moments = [before.moment_1, before.moment_2];
        let (parameter, [mean, square]) = adamw(parameter, gradient, moments, step);
        let state = AdamWState::new(AdaptiveMomentumState::new(time, mean, square));
        (parameter, Some(state))
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        AdamWState::new(state.momentum.to_device(device))
    }
}

#[derive(Clone)]
struct Lion {
    beta_1: f32,
    beta_2: f32,
    weight_decay: f32,
    gradient_factor: GradientFactor,
}

impl OfParameter for Lion {
    type State<const D: usize> = LionState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: f64,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<LionState<D>>,
    ) -> (Tensor<D>, Option<LionState<D>>) {
        let momentum = state.map_or_else(|| gradient.zeros_like(), |state| state.momentum);
        let step = LionStep {
            learning_rate,
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            weight_decay: self.weight_decay,
            gradient_factor: self.gradient_factor.get(),
        };
        let (parameter, momentum) = lion(parameter, gradient, momentum, step);
        (parameter, Some(LionState::new(momentum)))
    }

    fn to_device<const D: usize>(state: LionState<D>, device: &Device) -> LionState<D> {
        LionState::new(state.momentum.to_device(device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::optim::{AdamWConfig, LionConfig};
    use distily_core::Seed;
    use distily_models::{Decoder, DecoderConfig};

    fn gradients(model: &Decoder, scale: f64) -> GradientsParams {
        let norm = model.norm.weight.val();
        let embedding = model.embed_tokens.weight.val();
        let loss = norm.square().sum() + embedding.powi_scalar(3).sum();
        GradientsParams::from_grads(loss.mul_scalar(scale).backward(), model)
    }

    fn model() -> Decoder {
        let config = DecoderConfig {
            vocabulary: 9,
            width: 8,
            layers: 1,
            heads: 1,
            kv_heads: 1,
            head_width: 8,
            feed_forward_width: 8,
            ..DecoderConfig::default()
        };
        Decoder::random(&config, Seed(1), &Device::flex().autodiff()).unwrap()
    }

    fn weights(model: &Decoder) -> Vec<f32> {
        let embedding = model.embed_tokens.weight.val().into_data();
        let norm = model.norm.weight.val().into_data();
        embedding.iter::<f32>().chain(norm.iter::<f32>()).collect()
    }

    /// Three steps of ours, clipped by a factor, against burn's with gradients that are a quarter.
    #[test]
    fn they_are_burns_optimizers() {
        let adamw = OptimizerConfig::AdamW {
            beta_1: 0.8,
            beta_2: 0.9,
            epsilon: 1e-8,
            weight_decay: 0.1,
        };
        let lion = OptimizerConfig::Lion {
            beta_1: 0.8,
            beta_2: 0.9,
            weight_decay: 0.1,
        };
        let of_burn = [
            AdamWConfig::new()
                .with_beta_1(0.8)
                .with_beta_2(0.9)
                .with_epsilon(1e-8)
                .with_weight_decay(0.1)
                .init(),
            LionConfig::new()
                .with_beta_1(0.8)
                .with_beta_2(0.9)
                .with_weight_decay(0.1)
                .init(),
        ];
        for (config, mut theirs) in [adamw, lion].into_iter().zip(of_burn) {
            let mut ours = Optimizer::new(config);
            let (mut a, mut b) = (model(), model());
            for _ in 0..3 {
                let (of_a, of_b) = (gradients(&a, 1.0), gradients(&b, 0.25));
                a = ours.step(0.01, 0.25, a, of_a);
                b = theirs.step(0.01, b, of_b);
            }
            let before = weights(&model());
            for ((a, b), before) in weights(&a).into_iter().zip(weights(&b)).zip(before) {
                assert!((a - b).abs() < 1e-6 && a != before, "{a} and {b}");
            }
        }
    }

    #[test]
    fn its_record_goes_on_where_it_was() {
        let mut whole = Optimizer::new(OptimizerConfig::default());
        let first = model();
        let of_first = gradients(&first, 1.0);
        let second = whole.step(0.01, 1.0, first, of_first);
        let mut read = Optimizer::new(OptimizerConfig::default());
        let bytes = whole.of_module.into_bytes().unwrap();
        read.of_module = read.of_module.from_bytes(bytes).unwrap();
        let [whole, read] = [whole, read].map(|mut optimizer| {
            let gradients = gradients(&second, -0.1);
            weights(&optimizer.step(0.01, 1.0, second.clone(), gradients))
        });
        assert_eq!(whole, read);
    }
}
