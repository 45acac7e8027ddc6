use crate::output_pass::output_pass;
use burn::module::Module;
use distily_core::{
    Comparison, LossTerms, ModelShape, NamedLoss, Objective, ObjectiveError, OutputLoss, Taps, Term,
};
use std::sync::Arc;

/// A weighted sum of terms: the [`Objective`] that a config describes. Terms of your own go in
/// beside the built-in ones.
///
/// Its output losses are fused: logits are computed once for all of them, a chunk of tokens at a
/// time, and never held for a whole batch; see [`through_head`](crate::through_head).
#[derive(Module, Debug)]
pub struct Composite {
    #[module(skip)]
    terms: Vec<Arc<dyn Term>>,
    #[module(skip)]
    chunk: Option<usize>,
}

impl Composite {
    /// The sum of these terms; `None` without any.
    pub fn new(terms: Vec<Arc<dyn Term>>) -> Option<Self> {
        (!terms.is_empty()).then_some(Self { terms, chunk: None })
    }

    /// The same with another number of tokens whose logits are computed at a time than
    /// [`default_chunk`](crate::default_chunk) says.
    pub fn with_chunk(mut self, tokens: usize) -> Self {
        self.chunk = Some(tokens.max(1));
        self
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
        let output: Vec<(f64, &dyn OutputLoss)> = self
            .terms
            .iter()
            .filter_map(|term| Some((term.weight(), term.output_loss()?)))
            .collect();
        let mut fused = None;
        let mut of_output = Vec::new().into_iter();
        if !output.is_empty() {
            let pass = output_pass(&output, comparison, self.chunk)?;
            fused = Some(pass.total);
            of_output = pass.values.into_iter();
        }
        let mut total = fused;
        let mut terms = Vec::new();
        for term in &self.terms {
            let value = match term.output_loss().and_then(|_| of_output.next()) {
                Some(value) => value,
                None => {
                    let value = term.value(comparison)?;
                    let weighted = value.clone().mul_scalar(term.weight());
                    total = Some(match total {
                        None => weighted,
                        Some(sum) => sum + weighted,
                    });
                    value
                }
            };
            terms.push(NamedLoss {
                name: term.name().to_owned(),
                weight: term.weight(),
                value,
            });
        }
        Ok(LossTerms {
            total: total.expect("`new` refuses an empty list"),
            terms,
        })
    }
}
