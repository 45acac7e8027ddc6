use burn::tensor::Tensor;
use distily_kernels::linear;

/// How the weight of a [`Head`] lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadLayout {
    /// `[vocabulary, width]`, as an embedding that the head is tied to.
    ByVocabulary,
    /// `[width, vocabulary]`, as burn's `Linear`.
    ByWidth,
}

/// The output projection as a loss needs it: enough to compute logits from hidden states, chunk by
/// chunk, without ever holding all of them.
///
/// logits = cap(scale · (hidden · weight + bias)), where cap(x) = `soft_cap` · tanh(x / `soft_cap`).
#[derive(Debug, Clone)]
pub struct Head {
    /// The weight; its layout is in `layout`.
    pub weight: Tensor<2>,
    /// How `weight` lies in memory.
    pub layout: HeadLayout,
    /// `[vocabulary]`.
    pub bias: Option<Tensor<1>>,
    /// A factor on the logits.
    pub scale: Option<f64>,
    /// The bound of the logits' magnitude, as in Gemma 2.
    pub soft_cap: Option<f64>,
}

impl Head {
    /// A plain head with a weight `[vocabulary, width]`.
    pub fn by_vocabulary(weight: Tensor<2>) -> Self {
        Self::with_layout(weight, HeadLayout::ByVocabulary)
    }

    /// A plain head with a weight `[width, vocabulary]`.
    pub fn by_width(weight: Tensor<2>) -> Self {
        Self::with_layout(weight, HeadLayout::ByWidth)
    }

    fn with_layout(weight: Tensor<2>, layout: HeadLayout) -> Self {
        Self {
            weight,
            layout,
            bias: None,
            scale: None,
            soft_cap: None,
        }
    }

    /// Columns of the logits.
    pub fn vocabulary(&self) -> usize {
        let [rows, columns] = self.weight.dims();
        match self.layout {
            HeadLayout::ByVocabulary => rows,
            HeadLayout::ByWidth => columns,
        }
    }

    /// The logits `[.., vocabulary]` of hidden states `[.., width]`.
    ///
    /// # Panics
    ///
    /// If the last axis of `hidden` is not the head's width: models guarantee that it is.
    pub fn logits<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        let weight = match self.layout {
            HeadLayout::ByVocabulary => self.weight.clone().transpose(),
            HeadLayout::ByWidth => self.weight.clone(),
        };
        let mut logits = linear(hidden, weight, self.bias.clone());
        if let Some(scale) = self.scale {
            logits = logits.mul_scalar(scale);
        }
        match self.soft_cap {
            Some(cap) => logits.div_scalar(cap).tanh().mul_scalar(cap),
            None => logits,
        }
    }

    /// The same head outside any autodiff graph.
    pub fn detached(&self) -> Self {
        Self {
            weight: self.weight.clone().without_autodiff(),
            bias: self.bias.clone().map(Tensor::without_autodiff),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn both_layouts_are_one_projection_with_bias_scale_and_cap() {
        let device = Device::flex();
        // Three ids, width 2.
        let weight = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], &device);
        let hidden = Tensor::<3>::from_data([[[3.0, -1.0]]], &device);
        let plain = Head::by_vocabulary(weight.clone());
        assert_eq!(plain.vocabulary(), 3);
        let full = Head {
            bias: Some(Tensor::from_data([0.0, 1.0, 2.0], &device)),
            scale: Some(0.5),
            soft_cap: Some(2.0),
            ..Head::by_width(weight.transpose())
        };
        assert_eq!(full.vocabulary(), 3);
        let values = |head: &Head| {
            head.logits(hidden.clone())
                .into_data()
                .try_to_vec::<f32>()
                .unwrap()
        };
        assert_eq!(values(&plain), [3.0, -2.0, 2.0]);
        for (got, raw) in values(&full).into_iter().zip([3.0f32, -1.0, 4.0]) {
            assert!((got - 2.0 * (raw * 0.5 / 2.0).tanh()).abs() < 1e-6, "{got}");
        }
    }
}
