use super::graph::record;
use super::tensors::elements;
use burn::backend::flex::FlexTensor;
use burn::backend::{DispatchTensor, Flex};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// The gradients of a module's parameters in the order of a visit, each to be taken once.
type Found = Arc<Mutex<Vec<Option<FlexTensor>>>>;

pub(crate) fn recomputed<M: Module + 'static, const D: usize>(
    module: &M,
    x: Tensor<D>,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<D> + Send + Sync + 'static,
) -> Tensor<D> {
    let mut parameters = Parameters(Vec::new());
    module.visit(&mut parameters);
    let (parameters, tracks_input) = (parameters.0, x.is_tracked());
    if !tracks_input && parameters.iter().all(Option::is_none) {
        return forward(module, x);
    }
    let plain = module.valid();
    let input = x.clone().without_autodiff();
    let output = forward(&plain, input.clone());
    // Its graph would be locked by the pass back through it when this one runs again.
    assert!(
        !output.is_tracked(),
        "what `forward` reads besides the module and its input gets a gradient: detach it"
    );
    let mut output = output.without_autodiff();
    let primitive = elements(&output);
    let found = Found::default();
    for (nth, parameter) in parameters.into_iter().enumerate() {
        let Some(parameter) = parameter else { continue };
        let found = found.clone();
        let parents = [output.into_dispatch(), parameter];
        // The last node of the chain comes first, and finds all.
        output = record(primitive.clone(), parents, move |upstream| {
            vec![upstream, take(&found, nth)]
        });
    }
    // Modules promise no `Sync`.
    let plain = Mutex::new(plain);
    let parents = [output.into_dispatch(), x.into_dispatch()];
    record(primitive, parents, move |upstream| {
        let plain = plain.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let module = plain.train();
        let leaf = Tensor::from_inner(input.clone()).set_require_grad(tracks_input);
        let weights = Tensor::<D>::from_primitive::<Flex>(upstream.clone());
        let loss = forward(&module, leaf.clone()) * Tensor::from_inner(weights);
        let gradients = loss.sum().backward();
        let mut of_parameters = Gradient(&gradients, Vec::new());
        module.visit(&mut of_parameters);
        *found.lock().unwrap_or_else(PoisonError::into_inner) = of_parameters.1;
        vec![upstream, elements(&of(&leaf, &gradients))]
    })
}

fn take(found: &Found, nth: usize) -> FlexTensor {
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    found[nth]
        .take()
        .expect("the node after this one found all")
}

/// The gradient of a leaf; 0 where the loss does not depend on it.
fn of<const D: usize>(leaf: &Tensor<D>, gradients: &Gradients) -> Tensor<D> {
    let gradient = leaf.grad(gradients);
    gradient.unwrap_or_else(|| leaf.zeros_like().without_autodiff())
}

/// Each parameter that gets a gradient, and `None` in the place of each that does not.
struct Parameters(Vec<Option<DispatchTensor>>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        self.0
            .push(value.is_tracked().then(|| value.into_dispatch()));
    }
}

/// The gradient of each.
struct Gradient<'a>(&'a Gradients, Vec<Option<FlexTensor>>);

impl ModuleVisitor for Gradient<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let tracked = value.is_tracked();
        self.1.push(tracked.then(|| elements(&of(&value, self.0))));
    }
}
