use super::groups::Groups;
use super::inner::inner;
use burn::module::Module;
use burn::optim::GradientsParams;
use distily_core::ObjectivePart;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What each term of an objective wants of the student, layer group by layer group.
///
/// A layer group is the parameters of one block (`layers.3`), or those that one module outside any
/// block holds (`embed_tokens`). Displayed, it is a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientReport {
    /// The terms, in the objective's order.
    pub terms: Vec<TermGradient>,
}

/// The gradient of one term, weighted as it is in the objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TermGradient {
    /// The term's name.
    pub term: String,
    /// Its gradient's L2 norm over the whole student.
    pub norm: f64,
    /// The cosine between its gradient and the sum of those of all output terms, over the whole
    /// student: below 0, they pull apart. `None` where either is zero.
    pub cosine: Option<f64>,
    /// The same of each layer group that any term moves, in the student's order.
    pub groups: Vec<GroupGradient>,
}

/// The gradient of one term in one layer group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupGradient {
    /// The layer group.
    pub group: String,
    /// As [`TermGradient::norm`], in this group.
    pub norm: f64,
    /// As [`TermGradient::cosine`], in this group.
    pub cosine: Option<f64>,
}

/// A term's inner products, by layer group.
struct Products {
    /// With itself.
    square: Vec<f64>,
    /// With the sum of all output terms.
    with_output: Vec<f64>,
}

impl GradientReport {
    /// Of the gradients of an objective's parts with respect to `student`.
    pub fn new<M: Module>(student: &M, parts: &[(ObjectivePart, GradientsParams)]) -> Self {
        let groups = Groups::new(student);
        let inner = |a: &_, b: &_| inner(student, &groups, a, b);
        let outputs = || parts.iter().filter(|(part, _)| part.output);
        let products = |(_, term): &(_, _)| Products {
            square: inner(term, term),
            with_output: sum(&groups, outputs().map(|(_, output)| inner(term, output))),
        };
        let products: Vec<Products> = parts.iter().map(products).collect();
        let of_outputs = parts
            .iter()
            .zip(&products)
            .filter(|((part, _), _)| part.output);
        let output_square = sum(&groups, of_outputs.map(|(_, of)| of.with_output.clone()));
        let measure = |of: &Products, range: Range<usize>| {
            let [square, product, output] = [&of.square, &of.with_output, &output_square]
                .map(|by_group| by_group[range.clone()].iter().sum::<f64>());
            let norms = square.sqrt() * output.sqrt();
            let directed = norms > 0.0 && norms.is_finite();
            let cosine = directed.then(|| (product / norms).clamp(-1.0, 1.0));
            (square.sqrt(), cosine)
        };
        let moved = |&at: &usize| products.iter().any(|of| of.square[at] != 0.0);
        let moved: Vec<usize> = (0..groups.names.len()).filter(moved).collect();
        let term = |((part, _), of): (&(ObjectivePart, _), &Products)| {
            let (norm, cosine) = measure(of, 0..groups.names.len());
            let group = |&at: &usize| {
                let (norm, cosine) = measure(of, at..at + 1);
                GroupGradient {
                    group: groups.names[at].clone(),
                    norm,
                    cosine,
                }
            };
            TermGradient {
                term: part.name.clone(),
                norm,
                cosine,
                groups: moved.iter().map(group).collect(),
            }
        };
        Self {
            terms: parts.iter().zip(&products).map(term).collect(),
        }
    }
}

fn sum(groups: &Groups, all: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    all.fold(vec![0.0; groups.names.len()], |sums, next| {
        sums.iter()
            .zip(next)
            .map(|(sum, next)| sum + next)
            .collect()
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{Pair, gradients};
    use super::*;

    fn part(name: &str, output: bool) -> ObjectivePart {
        let name = name.to_owned();
        ObjectivePart { name, output }
    }

    pub(in super::super) fn report() -> GradientReport {
        let pair = Pair::new();
        let parts = [
            (
                part("kl", true),
                gradients(&pair, [Some([3.0, 0.0]), Some([0.0, 2.0])]),
            ),
            (part("ce", true), gradients(&pair, [Some([0.0, 4.0]), None])),
            (
                part("hidden", false),
                gradients(&pair, [Some([-6.0, -8.0]), Some([1.0, 0.0])]),
            ),
        ];
        GradientReport::new(&pair, &parts)
    }

    #[test]
    fn norms_and_cosines_are_those_of_the_vectors() {
        let report = report();
        let [kl, ce, hidden] = &report.terms[..] else {
            panic!("one for each part");
        };
        // The output terms' sum is (3, 4) in the first group, (0, 2) in the second.
        let near = |got: Option<f64>, expected: f64| (got.unwrap() - expected).abs() < 1e-6;
        assert_eq!((kl.groups[0].norm, ce.groups[0].norm), (3.0, 4.0));
        assert!(near(kl.groups[0].cosine, 0.6) && near(ce.groups[0].cosine, 0.8));
        assert!(near(hidden.groups[0].cosine, -1.0) && near(hidden.groups[1].cosine, 0.0));
        assert_eq!((ce.groups[1].norm, ce.groups[1].cosine), (0.0, None));
        assert!((hidden.norm - 101f64.sqrt()).abs() < 1e-6);
        assert!(near(hidden.cosine, -50.0 / (101f64.sqrt() * 29f64.sqrt())));
    }

    #[test]
    fn it_is_serialised() {
        let report = report();
        let text = serde_json::to_string(&report).unwrap();
        let read: GradientReport = serde_json::from_str(&text).unwrap();
        assert_eq!(read.to_string(), report.to_string());
    }
}
