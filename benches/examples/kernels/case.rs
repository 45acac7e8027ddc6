use burn::tensor::{Device, Gradients, Tensor};
use distily::kernels::{attach_gradient, sum_of_squares};

/// A kernel at a shape, and its composition.
pub(crate) struct Case {
    pub(crate) kernel: &'static str,
    pub(crate) shape: String,
    pub(crate) pass: &'static str,
    pub(crate) ours: Form,
    pub(crate) composed: Form,
}

/// Runs once.
pub(crate) type Form = Box<dyn FnMut() -> Vec<Compared>>;

/// A number that all forms must agree on, taken when nobody is timed.
pub(crate) type Compared = Box<dyn FnOnce() -> f64>;

/// The sum of a tensor's squares.
pub(crate) fn squares<const D: usize>(tensor: Tensor<D>) -> Compared {
    Box::new(move || sum_of_squares(&tensor))
}

pub(crate) const FORWARD: &str = "forward";
pub(crate) const BOTH: &str = "forward, back";

/// Tensors that a kernel is given.
pub(crate) trait Leaves: Clone + 'static {
    /// Their gradients.
    fn gradients(&self, gradients: &Gradients) -> Vec<Compared>;
}

impl<const D: usize> Leaves for Tensor<D> {
    fn gradients(&self, gradients: &Gradients) -> Vec<Compared> {
        self.grad(gradients).map(squares).into_iter().collect()
    }
}

impl<A: Leaves, B: Leaves> Leaves for (A, B) {
    fn gradients(&self, gradients: &Gradients) -> Vec<Compared> {
        let (a, b) = self;
        let both = [a.gradients(gradients), b.gradients(gradients)];
        both.into_iter().flatten().collect()
    }
}

/// A kernel forward, and forward and back.
pub(crate) fn both_passes<I: Leaves, const D: usize>(
    kernel: &'static str,
    shape: &str,
    leaves: impl Fn(&Device) -> I,
    ours: impl Fn(I) -> Tensor<D> + Clone + 'static,
    composed: impl Fn(I) -> Tensor<D> + Clone + 'static,
    upstream: &Tensor<D>,
) -> [Case; 2] {
    let (plain, graph) = (leaves(&Device::flex()), leaves(&Device::flex().autodiff()));
    let case = |pass, ours, composed| Case {
        kernel,
        shape: shape.to_owned(),
        pass,
        ours,
        composed,
    };
    [
        case(
            FORWARD,
            forward(plain.clone(), ours.clone()),
            forward(plain, composed.clone()),
        ),
        case(
            BOTH,
            forward_and_back(graph.clone(), ours, upstream.clone()),
            forward_and_back(graph, composed, upstream.clone()),
        ),
    ]
}

fn forward<I: Leaves, const D: usize>(leaves: I, run: impl Fn(I) -> Tensor<D> + 'static) -> Form {
    Box::new(move || vec![squares(run(leaves.clone()))])
}

fn forward_and_back<I: Leaves, const D: usize>(
    leaves: I,
    run: impl Fn(I) -> Tensor<D> + 'static,
    upstream: Tensor<D>,
) -> Form {
    let nothing = Tensor::<1>::zeros([1], &Device::flex().autodiff());
    Box::new(move || {
        let output = run(leaves.clone());
        // The output receives `upstream` as it is: no product nor sum is in the time.
        let root = attach_gradient(nothing.clone(), output.clone(), upstream.clone());
        let gradients = root.backward();
        let mut compared = leaves.gradients(&gradients);
        compared.push(squares(output.without_autodiff()));
        compared
    })
}
