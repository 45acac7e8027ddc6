use burn::tensor::{Bool, Tensor};
use distily_kernels::{in_format_of, widened};

/// `x`, and `value` where the mask says so; the mask may be 1 along any axis.
pub(super) fn filled<const D: usize>(x: Tensor<D>, mask: Tensor<D, Bool>, value: f64) -> Tensor<D> {
    let mask = mask.expand(x.shape());
    x.mask_fill(mask, value)
}

/// The features of both sides, token by token, ready to be compared: wide, in one format, and 0
/// where a token does not count, whatever stood there.
pub(super) struct Rows {
    /// `[tokens, d_s]`, in the student's graph.
    pub(super) student: Tensor<2>,
    /// `[tokens, d_t]`, outside any graph.
    pub(super) teacher: Tensor<2>,
    /// `[tokens, 1]`.
    pub(super) weights: Tensor<2>,
    /// Where a token does not count, `[tokens, 1]`.
    pub(super) masked: Tensor<2, Bool>,
}

impl Rows {
    /// Rows of which the widths may differ.
    pub(super) fn new(student: Tensor<2>, teacher: Tensor<2>, weights: Tensor<1>) -> Self {
        let [tokens, _] = student.dims();
        assert_eq!(teacher.dims()[0], tokens, "the tokens are not as many");
        assert_eq!(weights.dims()[0], tokens, "one weight a token");
        let student = widened(student);
        let teacher = in_format_of(teacher.without_autodiff(), &student);
        let weights = in_format_of(weights.without_autodiff(), &student).unsqueeze_dim::<2>(1);
        let masked = weights.clone().equal_scalar(0.0);
        Self {
            student: filled(student, masked.clone(), 0.0),
            teacher: filled(teacher, masked.clone(), 0.0),
            weights,
            masked,
        }
    }

    /// Rows of one width.
    pub(super) fn alike(student: Tensor<2>, teacher: Tensor<2>, weights: Tensor<1>) -> Self {
        let (of_student, of_teacher) = (student.dims()[1], teacher.dims()[1]);
        assert_eq!(of_student, of_teacher, "the widths differ");
        Self::new(student, teacher, weights)
    }

    /// The weighted sum of a value of each token, `[tokens, 1]`.
    pub(super) fn sum(&self, values: Tensor<2>) -> Tensor<1> {
        (filled(values, self.masked.clone(), 0.0) * self.weights.clone()).sum()
    }

    /// Each column of `x` `[tokens, _]`, which is 0 where a token does not count, less its mean over
    /// the tokens that do; 0 elsewhere.
    pub(super) fn centred(&self, x: Tensor<2>) -> Tensor<2> {
        let count = self.masked.clone().bool_not().int().sum().float();
        let count = in_format_of(count, &x).clamp_min(1.0).unsqueeze::<2>();
        let less = |x: Tensor<2>, sum: Tensor<2>| {
            filled(x - sum / count.clone(), self.masked.clone(), 0.0)
        };
        // Twice, as the rounding of the first mean is as large as what is left of columns that are
        // almost constant. The first is a constant shift, of which the second's gradient is free.
        let sum = x.clone().without_autodiff().sum_dim(0);
        let x = less(x, sum);
        let sum = x.clone().sum_dim(0);
        less(x, sum)
    }
}
