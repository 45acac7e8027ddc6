use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use distily_core::Seed;
use distily_kernels::{gelu_tanh, in_format_of, widened};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Which map takes a student's features to the width of its teacher's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ProjectorConfig {
    /// x W (2310.08797).
    #[default]
    Linear,
    /// gelu(x W₁ + b₁) W₂ + b₂.
    Mlp {
        /// The width between both layers, at least the smaller of the student's and the teacher's:
        /// a narrower one would be a bottleneck. The larger of both if not said.
        #[serde(default)]
        hidden: Option<usize>,
    },
    /// The mean of several MLPs, each from random numbers of its own: what one begins badly, the
    /// others even out (PEFD, 2210.15274).
    Ensemble {
        /// How many, 1 or more; 3 if not said.
        #[serde(default = "three")]
        members: usize,
        /// See [`Mlp`](Self::Mlp).
        #[serde(default)]
        hidden: Option<usize>,
    },
    /// x P, where the shorter side of P is orthonormal: it turns and embeds, and neither stretches
    /// nor drops a direction that it could keep (VkD, 2403.06213).
    Orthogonal,
}

fn three() -> usize {
    3
}

/// A config is no projector between these widths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProjectorConfigError {
    /// A side without width.
    #[error("can't project a width of {student} to a width of {teacher}: both must be above 0")]
    NoWidth {
        /// The student's.
        student: usize,
        /// The teacher's.
        teacher: usize,
    },
    /// An ensemble of nothing.
    #[error("`members`: got 0, expected 1 or more")]
    NoMembers,
    /// A bottleneck.
    #[error(
        "`hidden`: got {got}, expected at least {least}, the smaller of the widths of both sides"
    )]
    Bottleneck {
        /// What was given.
        got: usize,
        /// The least that it may be.
        least: usize,
    },
}

impl ProjectorConfig {
    /// The projector of one pair of layers, from `student` wide to `teacher` wide.
    ///
    /// `name` is the pair's: its random numbers are its own. A linear map and an MLP begin with
    /// normal weights that keep variances; an orthogonal one begins as the identity.
    ///
    /// # Errors
    ///
    /// [`ProjectorConfigError`].
    pub fn init(
        &self,
        student: usize,
        teacher: usize,
        seed: Seed,
        name: &str,
        device: &Device,
    ) -> Result<Projector, ProjectorConfigError> {
        if student == 0 || teacher == 0 {
            return Err(ProjectorConfigError::NoWidth { student, teacher });
        }
        let normal = |layer: u64, shape: [usize; 2]| {
            let mut generator = seed.generator(&format!("projector {name}"), layer);
            let deviation = (shape[0] as f32).sqrt().recip();
            let mut next = || -> f32 { StandardNormal.sample(&mut generator) };
            let values: Vec<f32> = (0..shape[0] * shape[1])
                .map(|_| next() * deviation)
                .collect();
            Param::from_data(TensorData::new(values, shape), device)
        };
        let zeros = |width| Param::from_data(TensorData::zeros::<f32, _>([width]), device);
        let mlp = |member: u64, hidden: Option<usize>| {
            let least = student.min(teacher);
            let hidden = hidden.unwrap_or(student.max(teacher));
            if hidden < least {
                return Err(ProjectorConfigError::Bottleneck { got: hidden, least });
            }
            Ok(MlpProjector {
                up: normal(2 * member, [student, hidden]),
                up_bias: zeros(hidden),
                down: normal(2 * member + 1, [hidden, teacher]),
                down_bias: zeros(teacher),
            })
        };
        Ok(match *self {
            Self::Linear => Projector::Linear(LinearProjector {
                weight: normal(0, [student, teacher]),
            }),
            Self::Mlp { hidden } => Projector::Mlp(mlp(0, hidden)?),
            Self::Ensemble { members: 0, .. } => return Err(ProjectorConfigError::NoMembers),
            Self::Ensemble { members, hidden } => {
                let members = (0..members as u64).map(|member| mlp(member, hidden));
                let members = members.collect::<Result<_, _>>()?;
                Projector::Ensemble(EnsembleProjector { members })
            }
            Self::Orthogonal => {
                let mut values = vec![0f32; student * teacher];
                for at in 0..student.min(teacher) {
                    values[at * teacher + at] = 1.0;
                }
                let data = TensorData::new(values, [student, teacher]);
                Projector::Orthogonal(OrthogonalProjector {
                    weight: Param::from_data(data, device),
                })
            }
        })
    }
}

/// A trained map from a student's features to its teacher's width; made by
/// [`ProjectorConfig::init`].
///
/// Each pair of layers has its own. It is a module of the objective, trained and checkpointed with
/// the student and never part of what is exported.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // There is one for each pair of layers.
pub enum Projector {
    /// See [`ProjectorConfig::Linear`].
    Linear(LinearProjector),
    /// See [`ProjectorConfig::Mlp`].
    Mlp(MlpProjector),
    /// See [`ProjectorConfig::Ensemble`].
    Ensemble(EnsembleProjector),
    /// See [`ProjectorConfig::Orthogonal`].
    Orthogonal(OrthogonalProjector),
}

/// See [`ProjectorConfig::Linear`].
#[derive(Module, Debug)]
pub struct LinearProjector {
    /// W, `[d_s, d_t]`.
    weight: Param<Tensor<2>>,
}

/// See [`ProjectorConfig::Mlp`].
#[derive(Module, Debug)]
pub struct MlpProjector {
    /// W₁, `[d_s, hidden]`.
    up: Param<Tensor<2>>,
    /// b₁, `[hidden]`.
    up_bias: Param<Tensor<1>>,
    /// W₂, `[hidden, d_t]`.
    down: Param<Tensor<2>>,
    /// b₂, `[d_t]`.
    down_bias: Param<Tensor<1>>,
}

/// See [`ProjectorConfig::Ensemble`].
#[derive(Module, Debug)]
pub struct EnsembleProjector {
    members: Vec<MlpProjector>,
}

/// See [`ProjectorConfig::Orthogonal`].
#[derive(Module, Debug)]
pub struct OrthogonalProjector {
    /// The matrix of which P is the nearest orthonormal one, `[d_s, d_t]`.
    weight: Param<Tensor<2>>,
}

impl Projector {
    /// A student's features `[tokens, d_s]` as `[tokens, d_t]`; f32 where they are in half
    /// precision.
    ///
    /// # Panics
    ///
    /// If the width is not the projector's.
    pub fn forward(&self, student: Tensor<2>) -> Tensor<2> {
        let x = widened(student);
        match self {
            Self::Linear(linear) => times(x, &linear.weight),
            Self::Mlp(mlp) => mlp.forward(x),
            Self::Ensemble(EnsembleProjector { members }) => {
                let outputs = members.iter().map(|mlp| mlp.forward(x.clone()));
                let sum = outputs.reduce(|sum, output| sum + output);
                sum.expect("`init` refuses none")
                    .div_scalar(members.len() as f64)
            }
            Self::Orthogonal(orthogonal) => {
                let weight = in_format_of(orthogonal.weight.val(), &x);
                x.matmul(nearest_orthonormal(weight))
            }
        }
    }
}

impl MlpProjector {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let plus = |x: Tensor<2>, bias: &Param<Tensor<1>>| {
            let bias = in_format_of(bias.val(), &x).unsqueeze::<2>();
            x + bias
        };
        let hidden = gelu_tanh(plus(times(x, &self.up), &self.up_bias));
        plus(times(hidden, &self.down), &self.down_bias)
    }
}

fn times(x: Tensor<2>, weight: &Param<Tensor<2>>) -> Tensor<2> {
    let weight = in_format_of(weight.val(), &x);
    x.matmul(weight)
}

/// Steps of [`nearest_orthonormal`]: enough for a least singular value of 1/50 of the bound, at
/// which the weight is scaled to 1. A step makes a small one 1.5 times as large.
const STEPS: usize = 16;

/// The orthonormal matrix nearest to `weight`, the factor P of its polar decomposition: columns are
/// orthonormal where it is tall, rows where it is wide. By Newton and Schulz, X ← 1.5 X - 0.5 X XᵀX,
/// products alone (Björck and Bowie, 1971).
fn nearest_orthonormal(weight: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = weight.dims();
    // P does not depend on the scale, which so has no gradient. No singular value is above the
    // square root of the largest sums of a row and of a column, nor above Frobenius's norm.
    let fixed = weight.clone().without_autodiff().abs();
    let of_sums = fixed.clone().sum_dim(0).max() * fixed.clone().sum_dim(1).max();
    let bound = of_sums.min_pair(fixed.square().sum()).sqrt();
    let mut x = weight / bound.clamp_min(f32::MIN_POSITIVE).unsqueeze::<2>();
    for _ in 0..STEPS {
        let transposed = x.clone().transpose();
        let cubed = if rows < columns {
            x.clone().matmul(transposed).matmul(x.clone())
        } else {
            x.clone().matmul(transposed.matmul(x.clone()))
        };
        x = x.mul_scalar(1.5) - cubed.mul_scalar(0.5);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradient, largest, random};
    use super::*;
    use burn::tensor::FloatDType;
    use proptest::prelude::*;

    const FORMS: [ProjectorConfig; 4] = [
        ProjectorConfig::Linear,
        ProjectorConfig::Mlp { hidden: None },
        ProjectorConfig::Ensemble {
            members: 3,
            hidden: None,
        },
        ProjectorConfig::Orthogonal,
    ];

    proptest! {
        #[test]
        fn the_shorter_side_is_orthonormal(
            seed in any::<u64>(), rows in 1usize..12, columns in 1usize..12, scale in 0.01f32..100.0,
        ) {
            let eye = |n| Tensor::<2>::eye(n, &Device::default());
            let most = rows.max(columns);
            let weight = eye(most).slice([0..rows, 0..columns]) + random([rows, columns], seed) * 0.2;
            let p = nearest_orthonormal(weight * scale);
            let square = if rows < columns {
                p.clone().matmul(p.transpose())
            } else {
                p.clone().transpose().matmul(p)
            };
            prop_assert!(largest(square - eye(rows.min(columns))) < 1e-5);
        }

        #[test]
        fn its_gradient_is_that_of_finite_differences(
            seed in any::<u64>(), rows in 1usize..5, columns in 1usize..5,
        ) {
            let weight = Tensor::<2>::eye(5, &Device::default()).slice([0..rows, 0..columns]);
            let weight = weight + random([rows, columns], seed) * 0.2;
            let factors = random([rows, columns], !seed);
            assert_gradient(
                &|weight: Tensor<2>| {
                    let p = nearest_orthonormal(weight);
                    (in_format_of(factors.clone(), &p) * p).sum()
                },
                weight,
            );
        }
    }

    #[test]
    fn they_project_any_width_to_any_and_learn() {
        let device = Device::default().autodiff();
        for config in FORMS {
            for (student, teacher) in [(3, 5), (5, 3), (4, 4)] {
                let init = |name| {
                    config
                        .init(student, teacher, Seed(1), name, &device)
                        .unwrap()
                };
                let x = random([6, student], 1);
                let projector = init("layer 1");
                let y = projector.forward(x.clone());
                assert_eq!(y.dims(), [6, teacher]);
                let gradients = y.square().sum().backward();
                let weight = match &projector {
                    Projector::Linear(linear) => &linear.weight,
                    Projector::Mlp(mlp) => &mlp.down,
                    Projector::Ensemble(ensemble) => &ensemble.members[2].down,
                    Projector::Orthogonal(orthogonal) => &orthogonal.weight,
                };
                assert!(largest(weight.val().grad(&gradients).unwrap()).is_finite());
                let half = projector.forward(x.clone().cast(FloatDType::BF16));
                assert!(largest(half).is_finite());

                // The same pair is the same bits, and another is not.
                let [same, other] =
                    ["layer 1", "layer 2"].map(|name| init(name).forward(x.clone()));
                let y = projector.forward(x);
                assert_eq!(largest(y.clone() - same), 0.0);
                let random = config != ProjectorConfig::Orthogonal;
                assert_eq!(largest(y - other) > 0.0, random);
            }
        }
    }

    #[test]
    fn an_orthogonal_projector_begins_as_the_identity() {
        let x = random([4, 5], 1);
        let config = ProjectorConfig::Orthogonal;
        let projector = config.init(5, 5, Seed(1), "", &Device::default()).unwrap();
        assert!(largest(projector.forward(x.clone()) - x) < 1e-6);
    }

    #[test]
    fn a_mistake_is_named() {
        let read = |text: &str| {
            #[derive(Deserialize)]
            struct File {
                projector: ProjectorConfig,
            }
            toml::from_str::<File>(text).map(|file| file.projector)
        };
        let config = read("projector = { mlp = { hidden = 64 } }").unwrap();
        let error = config
            .init(576, 2048, Seed(1), "", &Device::default())
            .unwrap_err();
        let (got, least) = (64, 576);
        assert_eq!(error, ProjectorConfigError::Bottleneck { got, least });
        assert_eq!(
            read(r#"projector = "linear""#).unwrap(),
            ProjectorConfig::Linear
        );
        assert!(read("projector = { mlp = { width = 64 } }").is_err());
        assert!(config.init(0, 8, Seed(1), "", &Device::default()).is_err());
        let none = read("projector = { ensemble = { members = 0 } }").unwrap();
        let error = none.init(8, 8, Seed(1), "", &Device::default());
        assert_eq!(error.unwrap_err(), ProjectorConfigError::NoMembers);
    }
}
