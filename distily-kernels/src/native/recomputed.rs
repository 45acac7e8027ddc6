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
    let mut parameters = Tracked(Vec::new());
    module.visit(&mut parameters);
    // Effective values: what made them of the parameters is in the graph of the module itself.
    let plain = module.valid().materialize();
    let input = x.clone().without_autodiff();
    let output = forward(&plain, input.clone()).without_autodiff();
    if parameters.0.is_empty() && !x.is_tracked() {
        return output;
    }
    let primitive = elements(&output);
    let found = Found::default();
    let mut output = output;
    for (nth, parameter) in parameters.0.into_iter().enumerate() {
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
        let plain = plain.lock().unwrap_or_else(PoisonError::into_inner);
        let module = plain.clone().train();
        let leaf = Tensor::from_inner(input.clone()).require_grad();
        let weights = Tensor::<D>::from_primitive::<Flex>(upstream.clone());
        let loss = forward(&module, leaf.clone()) * Tensor::from_inner(weights);
        let gradients = loss.sum().backward();
        let mut of_parameters = OfTracked(&gradients, Vec::new());
        module.visit(&mut of_parameters);
        *found.lock().unwrap_or_else(PoisonError::into_inner) = of_parameters.1;
        let of_input = leaf
            .grad(&gradients)
            .unwrap_or_else(|| leaf.zeros_like().inner());
        vec![upstream, elements(&of_input)]
    })
}

fn take(found: &Found, nth: usize) -> FlexTensor {
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    found[nth]
        .take()
        .expect("the node after this one found all")
}

/// The parameters that get a gradient.
struct Tracked(Vec<DispatchTensor>);

impl ModuleVisitor for Tracked {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if value.is_tracked() {
            self.0.push(value.into_dispatch());
        }
    }
}

/// Their gradients; 0 where the loss does not depend on one.
struct OfTracked<'a>(&'a Gradients, Vec<Option<FlexTensor>>);

impl ModuleVisitor for OfTracked<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if value.is_tracked() {
            let gradient = value.grad(self.0);
            let gradient = gradient.unwrap_or_else(|| value.zeros_like().inner());
            self.1.push(Some(elements(&gradient)));
        }
    }
}
