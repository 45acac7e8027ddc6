use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

/// Which of a batch's tokens count.
pub(crate) struct Counting {
    rows: Vec<i64>,
    all: usize,
}

impl Counting {
    pub(crate) fn of(mask: &[bool]) -> Self {
        let rows = (0..).zip(mask).filter_map(|(at, &on)| on.then_some(at));
        Self {
            rows: rows.collect(),
            all: mask.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Their rows of `x` `[tokens, _]`.
    pub(crate) fn rows(&self, x: Tensor<2>) -> Tensor<2> {
        if self.len() == self.all {
            return x;
        }
        let rows = self.index(&x.device());
        x.select(0, rows)
    }

    /// Their rows of `ids` `[tokens, _]`.
    pub(crate) fn ids(&self, ids: Tensor<2, Int>) -> Tensor<2, Int> {
        if self.len() == self.all {
            return ids;
        }
        let rows = self.index(&ids.device());
        ids.select(0, rows)
    }

    /// `x`, whose rows are theirs, and rows of 0 for the others.
    pub(crate) fn spread(&self, x: Tensor<2>) -> Tensor<2> {
        if self.len() == self.all {
            return x;
        }
        let (device, [_, width]) = (x.device(), x.dims());
        let nothing = Tensor::zeros([self.all, width], (&device, x.dtype()));
        nothing.select_assign(0, self.index(&device), x, IndexingUpdateOp::Add)
    }

    fn index(&self, device: &Device) -> Tensor<1, Int> {
        let device = device.clone().without_autodiff();
        Tensor::from_data(TensorData::new(self.rows.clone(), [self.len()]), &device)
    }
}
