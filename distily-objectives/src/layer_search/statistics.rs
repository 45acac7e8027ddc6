use super::{LayerScore, LayerSearchError};
use crate::features::centring::Centring;
use crate::features::cholesky::{cholesky, inverse_of_lower};
use burn::tensor::{Tensor, TensorData};
use distily_kernels::in_format_of;

/// The ridge of the fit, over each column's own variance: far more than the rounding of its f32
/// products, so that a covariance without full rank can be factorised.
const RIDGE: f64 = 1e-4;

/// What both scores are computed from: the products of all layers' centred hidden states, summed
/// over the tokens of all batches.
pub(super) struct Statistics {
    student: Vec<Layer>,
    teacher: Vec<Layer>,
    /// Of each student layer with all teacher layers side by side, `[d_s, teacher layers * d_t]`.
    across: Vec<Products>,
}

/// One layer of one side.
struct Layer {
    /// `student` or `teacher`.
    model: &'static str,
    layer: usize,
    centring: Centring,
    /// `[width, width]`.
    own: Products,
}

/// Σ aᵀ b over the batches.
#[derive(Default)]
struct Products(Option<Tensor<2>>);

/// The own products of a layer, over their trace: its covariance, but for a factor.
struct Scatter {
    /// The trace that it was divided by.
    trace: f64,
    /// `[width, width]`, row after row.
    matrix: Vec<f64>,
}

impl Statistics {
    /// For so many layers of the student and of the teacher.
    pub(super) fn new(student: usize, teacher: usize) -> Self {
        let layers = |model, depth| {
            let layer = |layer| Layer {
                model,
                layer,
                centring: Centring::default(),
                own: Products::default(),
            };
            (0..depth).map(layer).collect()
        };
        Self {
            student: layers("student", student),
            teacher: layers("teacher", teacher),
            across: (0..student).map(|_| Products::default()).collect(),
        }
    }

    /// Adds the hidden states of the same tokens, at least one, in each layer `[tokens, width]`.
    pub(super) fn add(&mut self, student: Vec<Tensor<2>>, teacher: Vec<Tensor<2>>) {
        let rows = |(layer, x): (&mut Layer, Tensor<2>)| {
            let rows = layer.centring.rows(x);
            layer.own.add(rows.clone(), rows.clone());
            rows
        };
        let teacher = self.teacher.iter_mut().zip(teacher).map(rows).collect();
        let teacher = Tensor::cat(teacher, 1);
        let student = self.student.iter_mut().zip(student).map(rows);
        for (products, student) in self.across.iter_mut().zip(student) {
            let teacher = in_format_of(teacher.clone(), &student);
            products.add(student, teacher);
        }
    }

    /// The score of each pair, `[student layer][teacher layer]`.
    pub(super) fn scores(self, score: LayerScore) -> Result<Vec<Vec<f64>>, LayerSearchError> {
        // What the squared products are a share of, but for the student's part.
        let whole = |layer: &Layer| -> Result<f64, LayerSearchError> {
            let teacher = layer.scatter()?;
            Ok(match score {
                LayerScore::Cka => teacher.trace * teacher.norm(),
                LayerScore::LinearFit => teacher.trace,
            })
        };
        let wholes = self
            .teacher
            .iter()
            .map(whole)
            .collect::<Result<Vec<_>, _>>()?;
        let largest = wholes.iter().copied().fold(0.0, f64::max);
        let row = |(layer, across): (&Layer, Products)| {
            let student = layer.scatter()?;
            let across = across.0.expect("a batch was added");
            // Neither the one nor the other is large, so their squares do not overflow.
            let across = across
                .div_scalar(student.trace.sqrt())
                .div_scalar(largest.sqrt());
            let across = match score {
                LayerScore::Cka => across.div_scalar(student.norm().sqrt()),
                LayerScore::LinearFit => {
                    let whitening = student.whitening().ok_or(layer.degenerate())?;
                    let whitening = Tensor::from_data(whitening, &across.device());
                    in_format_of(whitening, &across).matmul(across)
                }
            };
            let squares = across.square().sum_dim(0).into_data();
            let squares: Vec<f64> = squares.iter::<f64>().collect();
            let width = squares.len() / wholes.len();
            let squares = squares.chunks_exact(width).map(|of| of.iter().sum::<f64>());
            let shares = squares
                .zip(&wholes)
                .map(|(sum, whole)| sum * (largest / whole));
            // What is beyond 1 is rounding.
            Ok(shares.map(|share| share.min(1.0)).collect())
        };
        self.student.iter().zip(self.across).map(row).collect()
    }
}

impl Layer {
    fn scatter(&self) -> Result<Scatter, LayerSearchError> {
        let &Self { model, layer, .. } = self;
        let own = self.own.0.as_ref().expect("a batch was added").to_data();
        let mut matrix: Vec<f64> = own.iter::<f64>().collect();
        let mean = self.centring.mean().unwrap_or_default();
        let trace: f64 = matrix.iter().step_by(mean.len() + 1).sum();
        if !trace.is_finite() {
            return Err(LayerSearchError::NotFinite { model, layer });
        }
        // The rounding of tokens that are alike: 1e-6 of their size.
        let size = mean.iter().map(|x| x * x).sum::<f64>() * self.centring.tokens() as f64;
        if trace <= 1e-12 * size {
            return Err(self.degenerate());
        }
        for x in &mut matrix {
            *x /= trace;
        }
        Ok(Scatter { trace, matrix })
    }

    fn degenerate(&self) -> LayerSearchError {
        let &Self { model, layer, .. } = self;
        LayerSearchError::Degenerate { model, layer }
    }
}

impl Products {
    fn add(&mut self, a: Tensor<2>, b: Tensor<2>) {
        let products = a.transpose().matmul(b);
        self.0 = Some(match self.0.take() {
            None => products,
            Some(sum) => sum + products,
        });
    }
}

impl Scatter {
    /// Frobenius's norm.
    fn norm(&self) -> f64 {
        self.matrix.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    /// L⁻¹, f32 `[width, width]`, of the Cholesky factor L of the matrix with its ridge: for products
    /// P with a teacher layer, ‖L⁻¹ P‖² is what a linear fit explains of the teacher's variance.
    fn whitening(mut self) -> Option<TensorData> {
        let width = self.matrix.len().isqrt();
        for x in self.matrix.iter_mut().step_by(width + 1) {
            // A constant column explains nothing, whatever its ridge.
            *x = (*x * (1.0 + RIDGE)).max(1e-20);
        }
        let lower = cholesky(self.matrix, width).ok()?;
        let inverse = inverse_of_lower(&lower, width);
        let inverse: Vec<f32> = inverse.into_iter().map(|x| x as f32).collect();
        Some(TensorData::new(inverse, [width, width]))
    }
}
