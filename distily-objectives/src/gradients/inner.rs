use super::groups::Groups;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Tensor};

/// The inner product of two gradients of a module over each of its groups; a parameter that either
/// lacks adds nothing.
pub(super) fn inner<M: Module>(
    module: &M,
    groups: &Groups,
    a: &GradientsParams,
    b: &GradientsParams,
) -> Vec<f64> {
    let sums = vec![0.0; groups.names.len()];
    let mut visitor = Visitor { groups, a, b, sums };
    module.visit(&mut visitor);
    visitor.sums
}

struct Visitor<'a> {
    groups: &'a Groups,
    a: &'a GradientsParams,
    b: &'a GradientsParams,
    sums: Vec<f64>,
}

impl ModuleVisitor for Visitor<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let (Some(a), Some(b)) = (self.a.get::<D>(param.id), self.b.get::<D>(param.id)) {
            // Squares leave the range of half precision.
            let product = a.cast(FloatDType::F32) * b.cast(FloatDType::F32);
            self.sums[self.groups.of(param.id)] += f64::from(product.sum().into_scalar::<f32>());
        }
    }
}
