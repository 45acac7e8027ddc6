//! Parameters by name: models are built without weights, and then filled from a file, a teacher or
//! a generator.

use crate::{ModelError, Precision};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};

/// A parameter that holds nothing yet; asked for its value, it would be zeros.
pub(crate) fn unfilled<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, require_grad| Tensor::zeros(shape, device).set_require_grad(require_grad),
        device.clone(),
        true,
        shape.into(),
    )
}

/// A parameter on its way through a module.
#[derive(Debug)]
pub(crate) struct Parameter<'a> {
    /// Its path in the module, as `layers.0.mlp.up_proj.weight`.
    pub(crate) path: &'a str,
    /// Its shape in the module.
    pub(crate) shape: &'a [usize],
    /// Whether it is a linear layer's.
    pub(crate) in_linear: bool,
}

/// The path of the parameter that a visitor or a mapper is at.
#[derive(Debug, Default)]
struct Path {
    names: Vec<String>,
    containers: Vec<String>,
}

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    fn in_linear(&self) -> bool {
        self.containers.iter().any(|c| c == "Struct:Linear")
    }
}

/// Gives every parameter of `module` the value that `value` names for it, kept in a precision.
///
/// # Errors
///
/// The first that `value` reports.
pub(crate) fn fill<M: Module>(
    module: M,
    device: &Device,
    precision: Precision,
    value: impl FnMut(&Parameter<'_>) -> Result<TensorData, ModelError>,
) -> Result<M, ModelError> {
    struct Filler<'a, F> {
        path: Path,
        device: &'a Device,
        precision: Precision,
        value: F,
        error: Option<ModelError>,
    }
    impl<F: FnMut(&Parameter<'_>) -> Result<TensorData, ModelError>> ModuleMapper for Filler<'_, F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if self.error.is_some() {
                return param;
            }
            let parameter = Parameter {
                path: &self.path.names.join("."),
                shape: &param.lazy_shape(),
                in_linear: self.path.in_linear(),
            };
            match (self.value)(&parameter) {
                Ok(data) => self.precision.keep(data, &parameter, self.device),
                Err(error) => {
                    self.error = Some(error);
                    param
                }
            }
        }
    }
    let mut filler = Filler {
        path: Path::default(),
        device,
        precision,
        value,
        error: None,
    };
    let filled = module.map(&mut filler);
    match filler.error {
        Some(error) => Err(error),
        None => Ok(filled),
    }
}

/// Something about every parameter of a module, in its order; values are given in f32.
pub(crate) fn collect<M: Module, T>(
    module: &M,
    each: impl FnMut(&Parameter<'_>, &dyn Fn() -> TensorData) -> T,
) -> Vec<T> {
    struct Collector<F, T> {
        path: Path,
        each: F,
        found: Vec<T>,
    }
    impl<T, F: FnMut(&Parameter<'_>, &dyn Fn() -> TensorData) -> T> ModuleVisitor for Collector<F, T> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let parameter = Parameter {
                path: &self.path.names.join("."),
                shape: &param.lazy_shape(),
                in_linear: self.path.in_linear(),
            };
            let value = || widened(param.val().without_autodiff()).into_data();
            self.found.push((self.each)(&parameter, &value));
        }
    }
    let mut collector = Collector {
        path: Path::default(),
        each,
        found: Vec::new(),
    };
    module.visit(&mut collector);
    collector.found
}

/// A tensor in f32, whatever it is kept as.
fn widened<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match tensor.dtype() {
        DType::F32 => tensor,
        DType::QFloat(_) => tensor.dequantize(),
        _ => tensor.cast(FloatDType::F32),
    }
}

/// `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut transposed = vec![0.0; values.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..rows.min(top + TILE) {
                for column in left..columns.min(left + TILE) {
                    transposed[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    transposed
}
