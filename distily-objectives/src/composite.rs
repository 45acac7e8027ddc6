use burn::module::Module;
use distily_core::{
    Comparison, LossTerms, ModelShape, NamedLoss, Objective, ObjectiveError, Taps, Term,
};
use std::sync::Arc;

/// A weighted sum of terms: the [`Objective`] that a config describes. Terms of your own go in
/// beside the built-in ones.
#[derive(Module, Debug)]
pub struct Composite {
    #[module(skip)]
    terms: Vec<Arc<dyn Term>>,
}

impl Composite {
    /// The sum of these terms; `None` without any.
    pub fn new(terms: Vec<Arc<dyn Term>>) -> Option<Self> {
        (!terms.is_empty()).then_some(Self { terms })
    }
}

impl Objective for Composite {
    fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError> {
        let mut taps = (Taps::none(), Taps::none());
        for term in &self.terms {
            let (of_student, of_teacher) = term.taps(student, teacher)?;
            taps = (taps.0.union(&of_student), taps.1.union(&of_teacher));
        }
        Ok(taps)
    }

    fn evaluate(&self, comparison: &Comparison<'_>) -> Result<LossTerms, ObjectiveError> {
        let terms = self
            .terms
            .iter()
            .map(|term| {
                Ok(NamedLoss {
                    name: term.name().to_owned(),
                    weight: term.weight(),
                    value: term.value(comparison)?,
                })
            })
            .collect::<Result<Vec<_>, ObjectiveError>>()?;
        Ok(LossTerms::sum(terms).expect("`new` refuses an empty list"))
    }
}
