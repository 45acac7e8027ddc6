use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use std::collections::HashMap;

/// The layer groups of a module: the parameters of one block are one (`layers.3`), and so are those
/// outside any block that one module holds (`embed_tokens`).
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The groups by name, in the module's order.
    pub(super) names: Vec<String>,
    of: HashMap<ParamId, usize>,
}

impl Groups {
    pub(super) fn new<M: Module>(module: &M) -> Self {
        let mut visitor = Visitor::default();
        module.visit(&mut visitor);
        visitor.groups
    }

    /// The group of a parameter of the module: its place in `names`.
    pub(super) fn of(&self, parameter: ParamId) -> usize {
        self.of[&parameter]
    }
}

#[derive(Default)]
struct Visitor {
    path: Vec<String>,
    /// How much of `path` names the block, inside one.
    block: Option<usize>,
    groups: Groups,
}

impl Visitor {
    fn group(&self) -> String {
        let holder = self.path.len().saturating_sub(1).max(1);
        self.path[..self.block.unwrap_or(holder)].join(".")
    }
}

impl ModuleVisitor for Visitor {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.to_owned());
        if matches!(container, "Vec" | "Array") {
            self.block.get_or_insert(self.path.len());
        }
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
        self.block = self.block.filter(|&block| block <= self.path.len());
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.group();
        let names = &mut self.groups.names;
        let at = names.iter().position(|known| *known == name);
        let at = at.unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        self.groups.of.insert(param.id, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
    use burn::tensor::Device;

    #[derive(Module, Debug)]
    struct Block {
        experts: Vec<Linear>,
        out: Linear,
    }

    #[derive(Module, Debug)]
    struct Inner {
        embed: Embedding,
        layers: Vec<Block>,
        norm: Linear,
    }

    #[derive(Module, Debug)]
    struct Model {
        model: Inner,
        scale: Param<Tensor<1>>,
    }

    #[test]
    fn a_block_is_a_group_and_so_is_what_holds_any_other_parameter() {
        let device = Device::default();
        let linear = || LinearConfig::new(2, 2).init(&device);
        let block = || Block {
            experts: vec![linear(), linear()],
            out: linear(),
        };
        let model = Model {
            model: Inner {
                embed: EmbeddingConfig::new(3, 2).init(&device),
                layers: vec![block(), block()],
                norm: linear(),
            },
            scale: Param::from_data([1.0], &device),
        };
        let groups = Groups::new(&model);
        let expected = "model.embed, model.layers.0, model.layers.1, model.norm, scale";
        assert_eq!(groups.names.join(", "), expected);
        let [first, second] = [0, 1].map(|at| &model.model.layers[at]);
        assert_eq!(groups.of(first.experts[1].weight.id), 1);
        assert_eq!(groups.of(second.out.weight.id), 2);
        assert_eq!(groups.of(model.scale.id), 4);
    }
}
