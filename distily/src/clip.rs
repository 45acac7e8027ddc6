use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Scales the gradients of a module down to a global norm of at most `largest`, and returns the
/// norm that they had. (burn clips each parameter on its own.)
pub(crate) fn clip_by_global_norm<M: Module>(
    module: &M,
    gradients: GradientsParams,
    largest: f64,
) -> (GradientsParams, f64) {
    let mut squares = Squares {
        gradients: &gradients,
        sum: 0.0,
    };
    module.visit(&mut squares);
    let norm = squares.sum.sqrt();
    // A norm that is no number can't be scaled; the caller looks at it.
    if norm <= largest || !norm.is_finite() {
        return (gradients, norm);
    }
    let mut scale = Scale {
        from: gradients,
        to: GradientsParams::new(),
        factor: largest / norm,
    };
    module.visit(&mut scale);
    (scale.to, norm)
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let largest = f64::from(gradient.clone().abs().max().into_scalar::<f32>());
            // Relative to the largest, so that no square leaves the range of f32.
            if largest > 0.0 {
                let relative = gradient.div_scalar(largest).square().sum();
                self.sum += largest * largest * f64::from(relative.into_scalar::<f32>());
            }
        }
    }
}

struct Scale {
    from: GradientsParams,
    to: GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.from.remove::<D>(param.id) {
            self.to
                .register::<D>(param.id, gradient.mul_scalar(self.factor));
        }
    }
}
