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
            let scalar = |x: Tensor<1>| f64::from(x.into_scalar::<f32>());
            let squares = scalar(gradient.clone().square().sum());
            self.sum += if squares.is_infinite() {
                // Out of f32's range; relative to the largest, no square is.
                let largest = scalar(gradient.clone().abs().max());
                largest * largest * scalar(gradient.div_scalar(largest).square().sum())
            } else {
                squares
            };
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
