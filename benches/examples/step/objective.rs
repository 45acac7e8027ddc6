use burn::module::Module;
use burn::tensor::Tensor;
use distily::core::{
    Comparison, Feature, Features, LossTerms, ModelShape, NamedLoss, Objective, ObjectiveError,
    Taps,
};
use distily::objectives::{Composite, ObjectiveConfig, hidden_mse, relation_mse};
use std::error::Error;

/// As many as divide the queries and the keys of SmolLM2-135M.
const RELATION_HEADS: usize = 12;

/// Hidden states of SmolLM2-135M have elements of hundreds.
const HIDDEN_WEIGHT: f64 = 1e-4;

/// Forward KL on the logits, squared errors of hidden states, and of the relations among queries,
/// keys and values.
#[derive(Module, Debug)]
pub(crate) struct Compared {
    output: Composite,
    /// Layers of the student and of the teacher.
    #[module(skip)]
    hidden: Vec<(usize, usize)>,
    #[module(skip)]
    relation: Option<(usize, usize)>,
}

impl Compared {
    /// `logits`, `hidden` (and four hidden states), or `relation` (and the last layer's relations).
    pub(crate) fn new(name: &str) -> Result<Self, Box<dyn Error>> {
        let hidden = [(3, 7), (7, 15), (11, 23), (14, 29)];
        let (hidden, relation) = match name {
            "logits" => (vec![], None),
            "hidden" => (hidden.to_vec(), None),
            "relation" => (hidden.to_vec(), Some((14, 29))),
            other => return Err(format!("{other} is no objective").into()),
        };
        Ok(Self {
            output: ObjectiveConfig::default().build()?,
            hidden,
            relation,
        })
    }
}

const HEADS: [(&str, Feature); 3] = [
    ("queries", Feature::Query),
    ("keys", Feature::Key),
    ("values", Feature::Value),
];

impl Objective for Compared {
    fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError> {
        let (mut of_student, mut of_teacher) = self.output.taps(student, teacher)?;
        for &(student, teacher) in &self.hidden {
            of_student = of_student.with(student, Feature::Hidden);
            of_teacher = of_teacher.with(teacher, Feature::Hidden);
        }
        if let Some((student, teacher)) = self.relation {
            for (_, feature) in HEADS {
                of_student = of_student.with(student, feature);
                of_teacher = of_teacher.with(teacher, feature);
            }
        }
        Ok((of_student, of_teacher))
    }

    fn evaluate(&self, comparison: &Comparison<'_>) -> Result<LossTerms, ObjectiveError> {
        let LossTerms {
            mut total,
            mut terms,
        } = self.output.evaluate(comparison)?;
        let (ours, theirs) = (&comparison.student.features, &comparison.teacher.features);
        let weights = comparison.weights(&total.device());
        let mut add = |name: &str, weight: f64, value: Tensor<1>| {
            total = total.clone() + value.clone().mul_scalar(weight);
            let name = name.to_owned();
            terms.push(NamedLoss {
                name,
                weight,
                value,
            });
        };
        for &(student, teacher) in &self.hidden {
            let rows = |features: &Features, layer| {
                let hidden = features
                    .hidden(layer)
                    .ok_or_else(|| untapped("a hidden state"));
                hidden.map(|hidden| hidden.clone().flatten::<2>(0, 1))
            };
            let (student, teacher) = (rows(ours, student)?, rows(theirs, teacher)?);
            add(
                "hidden",
                HIDDEN_WEIGHT,
                hidden_mse(student, teacher, weights.clone()),
            );
        }
        if let Some((student, teacher)) = self.relation {
            for (name, feature) in HEADS {
                let heads = |features: &Features, layer| {
                    features
                        .heads(layer, feature)
                        .cloned()
                        .ok_or_else(|| untapped(name))
                };
                let segments = comparison.batch.segments();
                let (student, teacher) = (heads(ours, student)?, heads(theirs, teacher)?);
                let weights = weights.clone();
                add(
                    name,
                    1.0,
                    relation_mse(student, teacher, segments, weights, RELATION_HEADS),
                );
            }
        }
        Ok(LossTerms { total, terms })
    }
}

fn untapped(what: &str) -> ObjectiveError {
    ObjectiveError::Mismatch {
        term: what.to_owned(),
        problem: "a model did not reveal what was tapped".to_owned(),
    }
}
