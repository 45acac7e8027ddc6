use super::groups::Groups;
use super::inner::inner;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What is done where an objective's terms on features pull the student another way than its terms
/// on the output.
///
/// L_o and L_f are the weighted sums of either kind of term, o and f their gradients. Those that
/// combine gradients look at the parameters that both touch; what only one does, as a projector,
/// keeps its own. [`Projected`](Self::Projected) takes each layer group (see
/// [`GradientReport`](crate::GradientReport)) for itself, the others the student as a whole.
///
/// What each does to two halves of a squared distance, to (2, 0) and to a target of the features,
/// seen from (0, 0) and after one step at a learning rate of 0.1:
///
/// |                    | features at (-6, 1): cosine -0.99 | at (0, 6): cosine 0    |
/// |--------------------|-----------------------------------|------------------------|
/// | before the step    | L_o 2.000, L_f 18.500             | L_o 2.000, L_f 18.000  |
/// | `fixed`            | 2.885, 16.085                     | 1.800, 14.600          |
/// | `balanced_by_loss` | 1.739, 19.309                     | 1.622, 17.622          |
/// | `balanced_by_norm` | 1.995, 18.484                     | 1.640, 16.840          |
/// | `projected`        | 1.625, 19.625                     | 1.640, 16.840          |
/// | `mgda`             | 1.994, 18.494                     | 1.658, 17.658          |
///
/// ```
/// use burn::module::{Module, Param};
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Tensor};
/// use distily_objectives::GradientPolicy;
///
/// #[derive(Module, Debug)]
/// struct Student {
///     at: Param<Tensor<1>>,
/// }
///
/// let device = Device::flex().autodiff();
/// let far = |at: Tensor<1>, target: [f32; 2]| {
///     (at - Tensor::from_data(target, &device)).square().sum().mul_scalar(0.5)
/// };
/// let value = |loss: &Tensor<1>| loss.clone().into_scalar::<f64>();
/// let after_a_step = |policy: GradientPolicy, target: [f32; 2]| {
///     let student = Student { at: Param::from_tensor(Tensor::zeros([2], &device)) };
///     let output = far(student.at.val(), [2.0, 0.0]);
///     let features = far(student.at.val(), target);
///     let factor = policy.feature_factor(value(&output), value(&features));
///     let [output, features] = [output, features.mul_scalar(factor)]
///         .map(|loss| GradientsParams::from_grads(loss.backward(), &student));
///     let gradient = policy.combine(&student, output, features).get::<1>(student.at.id).unwrap();
///     let at = Tensor::from_inner(gradient.mul_scalar(-0.1));
///     [[2.0, 0.0], target].map(|target| value(&far(at.clone(), target)))
/// };
/// for (policy, opposing, orthogonal) in [
///     (GradientPolicy::Fixed, [2.885, 16.085], [1.8, 14.6]),
///     (GradientPolicy::BalancedByLoss, [1.739, 19.309], [1.622, 17.622]),
///     (GradientPolicy::BalancedByNorm, [1.995, 18.484], [1.64, 16.84]),
///     (GradientPolicy::Projected { cap: 1.0 }, [1.625, 19.625], [1.64, 16.84]),
///     (GradientPolicy::Mgda, [1.994, 18.494], [1.658, 17.658]),
/// ] {
///     for (target, expected) in [([-6.0, 1.0], opposing), ([0.0, 6.0], orthogonal)] {
///         let got = after_a_step(policy, target);
///         let near = |at: usize| (got[at] - expected[at]).abs() < 6e-4;
///         assert!(near(0) && near(1), "{policy:?}: {got:?}");
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum GradientPolicy {
    /// o + f: the weights decide. One forward and one backward.
    #[default]
    Fixed,
    /// The loss L_o + |L_o / L_f| L_f, the factor a constant to the gradient: both kinds weigh the
    /// same in each batch, whatever the weights of the terms on features are together. One forward
    /// and one backward, as [`Fixed`](Self::Fixed).
    BalancedByLoss,
    /// o + f |o| / |f|, whatever the weights of the terms on features are together. Costs a second
    /// forward and backward of the student, and memory for a second gradient.
    BalancedByNorm,
    /// o + f', where f' is f without its component against o if there is one, that is where
    /// o · f < 0, and at most `cap` |o| long: the projection of PCGrad (Yu et al., 2001.06782), with
    /// the output terms never giving way. Costs what [`BalancedByNorm`](Self::BalancedByNorm) does.
    Projected {
        /// The largest |f'| / |o| in a layer group; `inf` for any. 1 if not said.
        #[serde(default = "one")]
        cap: f64,
    },
    /// γ o + (1 - γ) f, the shortest vector between the two, of which neither loss rises:
    /// γ = ((f - o) · f) / |o - f|², within 0 and 1 (Sener and Koltun, 1810.04650). It leans to the
    /// shorter gradient. Costs what [`BalancedByNorm`](Self::BalancedByNorm) does.
    Mgda,
}

fn one() -> f64 {
    1.0
}

impl GradientPolicy {
    /// Whether it combines gradients, and so needs those of the two kinds of term apart: burn's
    /// backward consumes the graph, so each takes a forward of its own.
    pub fn combines_gradients(self) -> bool {
        !matches!(self, Self::Fixed | Self::BalancedByLoss)
    }

    /// The factor of the terms on features in what is differentiated, by the values of L_o and L_f:
    /// 1 but for [`BalancedByLoss`](Self::BalancedByLoss), and where L_f is 0.
    pub fn feature_factor(self, output: f64, features: f64) -> f64 {
        if self == Self::BalancedByLoss && features != 0.0 {
            (output / features).abs()
        } else {
            1.0
        }
    }

    /// The gradient to step along, of those of the output terms and of the terms on features; the
    /// plain sum by the policies that do not combine gradients, and where a square leaves the range
    /// of f32.
    pub fn combine<M: Module>(
        self,
        module: &M,
        mut output: GradientsParams,
        mut features: GradientsParams,
    ) -> GradientsParams {
        let groups = Groups::new(module);
        let mut unshared = Unshared {
            sides: [&mut output, &mut features],
            taken: GradientsParams::new(),
        };
        module.visit(&mut unshared);
        let combined = unshared.taken;
        let [oo, of, ff] = [
            (&output, &output),
            (&output, &features),
            (&features, &features),
        ]
        .map(|(a, b)| inner(module, &groups, a, b));
        let products: Vec<_> = (0..groups.names.len())
            .map(|at| [oo[at], of[at], ff[at]])
            .collect();
        let weights = if matches!(self, Self::Projected { .. }) {
            products
                .iter()
                .map(|&products| self.weights(products))
                .collect()
        } else {
            let whole = [oo, of, ff].map(|by_group| by_group.iter().sum());
            vec![self.weights(whole); products.len()]
        };
        let mut combination = Combination {
            groups: &groups,
            weights,
            output,
            features,
            combined,
        };
        module.visit(&mut combination);
        combination.combined
    }

    /// The factors of o and f in the result, by o·o, o·f and f·f.
    fn weights(self, [oo, of, ff]: [f64; 3]) -> [f64; 2] {
        if ![oo, of, ff].iter().all(|product| product.is_finite()) {
            return [1.0, 1.0];
        }
        match self {
            Self::Fixed | Self::BalancedByLoss => [1.0, 1.0],
            Self::BalancedByNorm if ff > 0.0 => [1.0, (oo / ff).sqrt()],
            Self::BalancedByNorm => [1.0, 1.0],
            Self::Projected { cap } => {
                let against = if oo > 0.0 { of.min(0.0) / oo } else { 0.0 };
                let length = (ff - against * of).max(0.0).sqrt();
                let longest = cap * oo.sqrt();
                let shortened = if length > longest {
                    longest / length
                } else {
                    1.0
                };
                [1.0 - shortened * against, shortened]
            }
            // The smallest mean with a gradient of 0, of a term that its weight switches off say, is 0:
            // nothing would be trained.
            Self::Mgda if oo == 0.0 || ff == 0.0 => [1.0, 1.0],
            Self::Mgda => {
                let between = oo - 2.0 * of + ff;
                let gamma = if between > 0.0 {
                    ((ff - of) / between).clamp(0.0, 1.0)
                } else {
                    0.5
                };
                [gamma, 1.0 - gamma]
            }
        }
    }
}

/// Takes out the gradients that only one of two sides has.
struct Unshared<'a> {
    sides: [&'a mut GradientsParams; 2],
    taken: GradientsParams,
}

impl ModuleVisitor for Unshared<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let [output, features] = &mut self.sides;
        let has = |side: &GradientsParams| side.get::<D>(param.id).is_some();
        let own = match (has(output), has(features)) {
            (true, false) => output.remove::<D>(param.id),
            (false, true) => features.remove::<D>(param.id),
            _ => None,
        };
        if let Some(own) = own {
            self.taken.register::<D>(param.id, own);
        }
    }
}

/// Adds up what both sides have, weighted by group.
struct Combination<'a> {
    groups: &'a Groups,
    weights: Vec<[f64; 2]>,
    output: GradientsParams,
    features: GradientsParams,
    combined: GradientsParams,
}

impl ModuleVisitor for Combination<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let output = self.output.remove::<D>(param.id);
        if let (Some(output), Some(features)) = (output, self.features.remove::<D>(param.id)) {
            let [of_output, of_features] = self.weights[self.groups.of(param.id)];
            let sum = output.mul_scalar(of_output) + features.mul_scalar(of_features);
            self.combined.register::<D>(param.id, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Pair, gradients, numbers};
    use super::*;
    use proptest::prelude::*;

    const CAP_1: GradientPolicy = GradientPolicy::Projected { cap: 1.0 };
    const UNCAPPED: GradientPolicy = GradientPolicy::Projected { cap: f64::INFINITY };
    const ALL: [GradientPolicy; 6] = [
        GradientPolicy::Fixed,
        GradientPolicy::BalancedByLoss,
        GradientPolicy::BalancedByNorm,
        CAP_1,
        UNCAPPED,
        GradientPolicy::Mgda,
    ];

    /// What a policy makes of gradients in two layer groups.
    fn combined(
        policy: GradientPolicy,
        output: [[f32; 2]; 2],
        features: [[f32; 2]; 2],
    ) -> [[f32; 2]; 2] {
        let pair = Pair::new();
        let [output, features] = [output, features].map(|of| gradients(&pair, of.map(Some)));
        numbers(&pair, &policy.combine(&pair, output, features)).map(Option::unwrap)
    }

    /// What a policy makes of gradients in one layer group, with nothing in the other.
    fn of_one(policy: GradientPolicy, output: [f32; 2], features: [f32; 2]) -> [f32; 2] {
        let [first, second] = combined(policy, [output, [0.0; 2]], [features, [0.0; 2]]);
        assert_eq!(second, [0.0; 2]);
        first
    }

    #[test]
    fn opposing_gradients() {
        let of = |policy| of_one(policy, [2.0, 0.0], [-6.0, 0.0]);
        assert_eq!(of(GradientPolicy::Fixed), [-4.0, 0.0]);
        assert_eq!(of(GradientPolicy::BalancedByNorm), [0.0, 0.0]);
        assert_eq!(of(UNCAPPED), [2.0, 0.0]);
        assert_eq!(of(CAP_1), [2.0, 0.0]);
        assert_eq!(of(GradientPolicy::Mgda), [0.0, 0.0]);
    }

    #[test]
    fn orthogonal_gradients() {
        let of = |policy| of_one(policy, [2.0, 0.0], [0.0, 6.0]);
        assert_eq!(of(GradientPolicy::Fixed), [2.0, 6.0]);
        assert_eq!(of(GradientPolicy::BalancedByNorm), [2.0, 2.0]);
        assert_eq!(of(UNCAPPED), [2.0, 6.0], "left alone");
        assert_eq!(of(CAP_1), [2.0, 2.0]);
        // The foot of the perpendicular on the line between the two.
        let [x, y] = of(GradientPolicy::Mgda);
        assert!((x - 1.8).abs() < 1e-6 && (y - 0.6).abs() < 1e-6, "{x} {y}");
    }

    #[test]
    fn aligned_gradients() {
        let of = |policy| of_one(policy, [2.0, 0.0], [6.0, 0.0]);
        assert_eq!(of(UNCAPPED), of(GradientPolicy::Fixed));
        assert_eq!(of(CAP_1), [4.0, 0.0]);
        assert_eq!(of(GradientPolicy::BalancedByNorm), [4.0, 0.0]);
        assert_eq!(of(GradientPolicy::Mgda), [2.0, 0.0], "the shorter");
    }

    #[test]
    fn only_the_component_against_the_output_is_removed() {
        let [x, y] = of_one(UNCAPPED, [0.0, 2.0], [3.0, -5.0]);
        assert_eq!([x, y], [3.0, 2.0]);
    }

    #[test]
    fn projection_looks_at_each_layer_group_and_balance_at_the_whole() {
        let (output, features) = ([[1.0, 0.0], [0.0, 2.0]], [[-3.0, 1.0], [0.5, 1.0]]);
        assert_eq!(
            combined(UNCAPPED, output, features),
            [[1.0, 1.0], [0.5, 3.0]]
        );
        let [first, second] = combined(GradientPolicy::BalancedByNorm, output, features);
        let factor = (5.0f32 / 11.25).sqrt();
        let expected = [[1.0 - 3.0 * factor, factor], [0.5 * factor, 2.0 + factor]];
        for (got, expected) in [first, second]
            .iter()
            .flatten()
            .zip(expected.iter().flatten())
        {
            assert!((got - expected).abs() < 1e-6, "{got} and {expected}");
        }
    }

    #[test]
    fn a_gradient_of_zero_or_out_of_range_makes_no_nan() {
        for policy in ALL {
            for (output, features) in [
                ([0.0; 2], [0.0; 2]),
                ([0.0; 2], [1.0, -1.0]),
                ([1.0, -1.0], [0.0; 2]),
                ([1.0, -1.0], [1.0, -1.0]),
                ([1e30, 0.0], [-1e-30, 1e30]),
            ] {
                let sum = of_one(policy, output, features);
                assert!(sum.iter().all(|x| x.is_finite()), "{policy:?}: {sum:?}");
            }
        }
        assert_eq!(of_one(UNCAPPED, [0.0; 2], [1.0, -1.0]), [1.0, -1.0]);
        // Terms that are switched off do not switch the others off.
        for (output, features) in [([1.0, -1.0], [0.0; 2]), ([0.0; 2], [1.0, -1.0])] {
            assert_eq!(of_one(GradientPolicy::Mgda, output, features), [1.0, -1.0]);
        }
    }

    #[test]
    fn what_only_one_kind_touches_keeps_its_own_gradient_and_is_not_looked_at() {
        let pair = Pair::new();
        for policy in ALL {
            for output_alone in [false, true] {
                let alone = [None, Some([-100.0, 7.0])];
                let [with, without] = [alone, [None; 2]].map(|[_, second]| second);
                let second = if output_alone {
                    [with, without]
                } else {
                    [without, with]
                };
                let output = gradients(&pair, [Some([1.0, 0.0]), second[0]]);
                let features = gradients(&pair, [Some([-1.0, 1.0]), second[1]]);
                let [first, second] = numbers(&pair, &policy.combine(&pair, output, features));
                assert_eq!(second, Some([-100.0, 7.0]), "{policy:?}");
                assert_eq!(
                    first,
                    Some(of_one(policy, [1.0, 0.0], [-1.0, 1.0])),
                    "{policy:?}"
                );
            }
        }
    }

    #[test]
    fn losses_are_balanced_by_their_size_alone() {
        let factor = GradientPolicy::BalancedByLoss;
        assert_eq!(factor.feature_factor(2.0, 8.0), 0.25);
        assert_eq!(
            factor.feature_factor(2.0, -8.0),
            0.25,
            "never turned around"
        );
        assert_eq!(factor.feature_factor(2.0, 0.0), 1.0);
        assert_eq!(CAP_1.feature_factor(2.0, 8.0), 1.0);
    }

    #[test]
    fn a_config_names_it() {
        let read = |text: &str| serde_json::from_str::<GradientPolicy>(text);
        assert_eq!(read(r#""mgda""#).unwrap(), GradientPolicy::Mgda);
        assert_eq!(read(r#"{ "projected": {} }"#).unwrap(), CAP_1);
        assert!(read(r#"{ "projected": { "rho": 1.0 } }"#).is_err());
    }

    fn block() -> impl Strategy<Value = [f32; 2]> {
        [-10.0f32..10.0, -10.0f32..10.0]
    }

    fn dot(a: [[f32; 2]; 2], b: [[f32; 2]; 2]) -> f64 {
        let products = a.iter().flatten().zip(b.iter().flatten());
        products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    proptest! {
        #[test]
        fn along_mgda_neither_loss_rises(output in [block(), block()], features in [block(), block()]) {
            let sum = combined(GradientPolicy::Mgda, output, features);
            for side in [output, features] {
                let largest = dot(output, output).max(dot(features, features));
                prop_assert!(dot(sum, side) >= -1e-5 * largest);
            }
            prop_assert!(dot(sum, sum) <= dot(output, output).min(dot(features, features)) * (1.0 + 1e-5));
        }

        #[test]
        fn a_projection_never_works_against_the_output_and_keeps_its_cap(
            output in [block(), block()], features in [block(), block()], cap in 0.1f64..3.0,
        ) {
            let sum = combined(GradientPolicy::Projected { cap }, output, features);
            for group in 0..2 {
                let alone = |of: [[f32; 2]; 2]| [of[group], [0.0; 2]];
                let (output, sum) = (alone(output), alone(sum));
                let square = dot(output, output);
                prop_assert!(dot(sum, output) >= square * (1.0 - 1e-5));
                let [[x, y], _] = sum;
                let rest = [[x - output[0][0], y - output[0][1]], [0.0; 2]];
                prop_assert!(dot(rest, rest).sqrt() <= cap * square.sqrt() * (1.0 + 1e-4) + 1e-5);
            }
        }
    }
}
