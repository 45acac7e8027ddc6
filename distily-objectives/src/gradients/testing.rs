//! Gradients made by hand.

use burn::module::{Module, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

#[derive(Module, Debug)]
pub(super) struct Block {
    weight: Param<Tensor<1>>,
}

/// Two blocks of two numbers each.
#[derive(Module, Debug)]
pub(super) struct Pair {
    layers: Vec<Block>,
}

impl Pair {
    pub(super) fn new() -> Self {
        let block = |_| Block {
            weight: Param::from_data([0.0, 0.0], &Device::default()),
        };
        Self {
            layers: (0..2).map(block).collect(),
        }
    }

    fn ids(&self) -> impl Iterator<Item = ParamId> {
        self.layers.iter().map(|block| block.weight.id)
    }
}

/// Those of a pair's blocks; a block without one is not touched.
pub(super) fn gradients(pair: &Pair, blocks: [Option<[f32; 2]>; 2]) -> GradientsParams {
    let mut gradients = GradientsParams::new();
    for (id, block) in pair.ids().zip(blocks) {
        if let Some(block) = block {
            gradients.register(id, Tensor::<1>::from_data(block, &Device::default()));
        }
    }
    gradients
}

/// The numbers of a pair's gradients.
pub(super) fn numbers(pair: &Pair, gradients: &GradientsParams) -> [Option<[f32; 2]>; 2] {
    let mut blocks = pair.ids().map(|id| {
        let block = gradients.get::<1>(id)?.into_data();
        let block = block.try_to_vec::<f32>().expect("gradients are f32");
        Some([block[0], block[1]])
    });
    [(); 2].map(|_| blocks.next().flatten())
}
