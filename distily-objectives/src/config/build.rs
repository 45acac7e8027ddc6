//! From a config to an objective.

use super::loss::Misfit;
use super::{LossConfig, NormConfig, ObjectiveConfig, ObjectiveConfigError, TermConfig};
use crate::composite::Part;
use crate::feature_term::{FeatureTerm, Pair, Settings};
use crate::projected_logits::ProjectedLogits;
use crate::{Composite, CrossEntropy, SoftLoss, SoftTerm};
use burn::tensor::Device;
use distily_core::{ModelShape, Seed};
use distily_layermap::LayerMapConfig;
use std::collections::HashMap;
use std::sync::Arc;

impl ObjectiveConfig {
    /// The objective for a student and a teacher of these shapes.
    ///
    /// Projectors are made on `device`, the student's, to be trained, and each draws its own numbers
    /// from `seed`.
    ///
    /// # Errors
    ///
    /// [`ObjectiveConfigError`], naming the term and the field.
    pub fn build(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
        seed: Seed,
        device: &Device,
    ) -> Result<Composite, ObjectiveConfigError> {
        if self.terms.is_empty() {
            return Err(ObjectiveConfigError::NoTerms);
        }
        let mut names = HashMap::new();
        for (term, config) in self.terms.iter().enumerate() {
            let name = config.name();
            if let Some(first) = names.insert(name, term) {
                let name = name.to_owned();
                return Err(ObjectiveConfigError::NameTwice { term, first, name });
            }
        }
        // On a plain device projectors would be constants, which nobody trains.
        let device = device.clone().autodiff();
        let models = Models {
            student,
            teacher,
            seed,
            device: &device,
        };
        let terms = self.terms.iter().enumerate();
        let parts = terms.map(|(index, config)| config.build(index, &models));
        Ok(Composite::of(parts.collect::<Result<_, _>>()?))
    }
}

/// What an objective is built for.
struct Models<'a> {
    student: &'a ModelShape,
    teacher: &'a ModelShape,
    seed: Seed,
    device: &'a Device,
}

impl TermConfig {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.loss.name())
    }

    fn build(&self, term: usize, models: &Models<'_>) -> Result<Part, ObjectiveConfigError> {
        self.check_numbers(term)?;
        if let Some(soft) = self.soft(models.seed) {
            return self.build_soft(term, soft, models);
        }
        let loss = self.loss.of_features(models.student, models.teacher);
        let loss = loss.map_err(|misfit| match misfit {
            Misfit::Heads(problem) => ObjectiveConfigError::RelationHeads { term, problem },
            Misfit::NoRelations => ObjectiveConfigError::NoRelations { term },
            Misfit::NoAttention { side } => ObjectiveConfigError::NoAttention {
                term,
                loss: self.loss.name(),
                side,
            },
        })?;
        let Some(loss) = loss else {
            self.check_fields(term, &[])?;
            return Ok(Part::term(Arc::new(CrossEntropy {
                name: self.name().to_owned(),
                weight: self.weight,
            })));
        };
        let allowed: &[&str] = if self.loss.compares_hidden_states() {
            &["layers", "norm", "projector"]
        } else {
            &["layers"]
        };
        self.check_fields(term, allowed)?;
        let pairs = self.pairs(term, models)?;
        let settings = Settings {
            name: self.name().to_owned(),
            weight: self.weight,
            loss,
            norm: self.norm,
            student: models.student.clone(),
            teacher: models.teacher.clone(),
        };
        Ok(Part::Features(FeatureTerm::new(settings, pairs)))
    }

    /// The term, if it compares output distributions at a temperature.
    fn soft(&self, seed: Seed) -> Option<SoftTerm> {
        let loss = match self.loss {
            LossConfig::TopKKl { k } => SoftLoss::TopKKl { k },
            LossConfig::SampledKl { draws } => SoftLoss::SampledKl { draws, seed },
            LossConfig::Uld => SoftLoss::Uld,
            LossConfig::Sinkhorn {
                epsilon,
                iterations,
            } => SoftLoss::Sinkhorn {
                epsilon,
                iterations,
            },
            _ => SoftLoss::Divergence(self.loss.divergence()?),
        };
        Some(SoftTerm {
            name: self.name().to_owned(),
            weight: self.weight,
            loss,
            temperature: self.temperature.unwrap_or(1.0),
            temperature_squared: self.temperature_squared.unwrap_or(true),
        })
    }

    /// The term as a part of an objective; a divergence may be of logits that go through a projector.
    fn build_soft(
        &self,
        term: usize,
        soft: SoftTerm,
        models: &Models<'_>,
    ) -> Result<Part, ObjectiveConfigError> {
        /// 1 GB of weights, and twice that of an optimizer's moments.
        const MOST: usize = 1 << 28;
        let projector = match soft.loss {
            SoftLoss::Divergence(_) => self.projector,
            _ => None,
        };
        let Some(projector) = projector else {
            self.check_fields(term, &["temperature", "temperature_squared"])?;
            return Ok(Part::term(Arc::new(soft)));
        };
        self.check_fields(term, &["temperature", "temperature_squared", "projector"])?;
        let (student, teacher) = (models.student.vocabulary, models.teacher.vocabulary);
        if student.saturating_mul(teacher) > MOST {
            return Err(ObjectiveConfigError::LargeVocabularies {
                term,
                student,
                teacher,
            });
        }
        let projector = projector.init(student, teacher, models.seed, self.name(), models.device);
        Ok(Part::ProjectedLogits(ProjectedLogits {
            term: Arc::new(soft),
            vocabularies: (student, teacher),
            projector: projector
                .map_err(|problem| ObjectiveConfigError::Projector { term, problem })?,
        }))
    }

    /// The pairs of layers that a loss on features compares, with their projectors.
    fn pairs(&self, term: usize, models: &Models<'_>) -> Result<Vec<Pair>, ObjectiveConfigError> {
        let (student, teacher) = (models.student, models.teacher);
        let rule = self.layers.clone().unwrap_or(LayerMapConfig::Uniform);
        let map = rule.build(student.layers, teacher.layers);
        let map = map.map_err(|problem| ObjectiveConfigError::Layers { term, problem })?;
        let needs_equal_widths = self.loss.compares_hidden_states() && self.loss != LossConfig::Cka;
        if needs_equal_widths && self.projector.is_none() && student.width != teacher.width {
            return Err(ObjectiveConfigError::NoProjector {
                term,
                loss: self.loss.name(),
                student: student.width,
                teacher: teacher.width,
            });
        }
        let pair = |&(of_student, of_teacher): &(usize, usize)| {
            let projector = self.projector.map(|projector| {
                let name = format!("{} {of_student} {of_teacher}", self.name());
                let widths = (student.width, teacher.width);
                projector.init(widths.0, widths.1, models.seed, &name, models.device)
            });
            let projector = projector.transpose();
            let projector =
                projector.map_err(|problem| ObjectiveConfigError::Projector { term, problem })?;
            Ok(Pair::new(of_student, of_teacher, projector))
        };
        map.pairs().iter().map(pair).collect()
    }

    fn check_numbers(&self, term: usize) -> Result<(), ObjectiveConfigError> {
        let weights = self.weight.numbers().into_iter().map(|(field, weight)| {
            let allowed = weight >= 0.0 && weight.is_finite();
            (field, weight, allowed, "0 or more")
        });
        let temperature = self.temperature.map(|temperature| {
            let allowed = temperature > 0.0 && temperature.is_finite();
            ("temperature", temperature, allowed, "a positive number")
        });
        let shrinkage = match self.norm {
            Some(NormConfig::Whitened { shrinkage }) => Some((
                "norm.whitened.shrinkage",
                shrinkage,
                (0.0..=1.0).contains(&shrinkage),
                "0 to 1",
            )),
            _ => None,
        };
        let numbers = weights.chain(temperature).chain(shrinkage);
        for (field, got, allowed, expected) in numbers.chain(self.loss.parameters()) {
            if !allowed {
                return Err(ObjectiveConfigError::OutOfRange {
                    term,
                    field,
                    got,
                    expected,
                });
            }
        }
        Ok(())
    }

    /// Whether nothing is said that this loss does not know.
    fn check_fields(&self, term: usize, known: &[&str]) -> Result<(), ObjectiveConfigError> {
        for (field, said) in [
            ("temperature", self.temperature.is_some()),
            ("temperature_squared", self.temperature_squared.is_some()),
            ("layers", self.layers.is_some()),
            ("norm", self.norm.is_some()),
            ("projector", self.projector.is_some()),
        ] {
            if said && !known.contains(&field) {
                let loss = self.loss.name();
                return Err(ObjectiveConfigError::MeansNothing { term, field, loss });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(width: usize, layers: usize) -> ModelShape {
        ModelShape {
            vocabulary: 32,
            width,
            layers,
            heads: 4,
            kv_heads: 2,
            head_width: 8,
            ..ModelShape::default()
        }
    }

    fn built(
        terms: &str,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<Composite, ObjectiveConfigError> {
        let config: ObjectiveConfig = toml::from_str(&format!("terms = [{terms}]")).unwrap();
        config.build(student, teacher, Seed(1), &Device::default())
    }

    /// The error of terms between models of unequal width and depth.
    fn error(terms: &str) -> ObjectiveConfigError {
        built(terms, &shape(16, 3), &shape(24, 6)).unwrap_err()
    }

    #[test]
    fn every_loss_is_read_by_its_name() {
        for text in [
            r#""forward_kl""#,
            r#""reverse_kl""#,
            r#""soft_cross_entropy""#,
            "{ mixed_kl = {} }",
            "{ jensen_shannon = { beta = 0.1 } }",
            "{ skew_kl = {} }",
            "{ skew_reverse_kl = {} }",
            "{ adaptive_kl = {} }",
            r#""total_variation""#,
            "{ alpha_beta = { alpha = 0.2, beta = 0.7 } }",
            r#""probabilities_mse""#,
            r#""logits_mse""#,
            "{ top_k_kl = { k = 12 } }",
            "{ sampled_kl = { draws = 12 } }",
            r#""uld""#,
            "{ sinkhorn = {} }",
            r#""cross_entropy""#,
            r#""hidden_mse""#,
            r#""cosine""#,
            "{ logsum = {} }",
            r#""cka""#,
            "{ info_nce = { tau = 0.2 } }",
            "{ dist = {} }",
            "{ relation_mse = {} }",
            r#"{ relation_kl = { of = ["value"] } }"#,
            "{ relation_normalized_kl = { heads = 2 } }",
            r#""attention_mse""#,
            r#""attention_kl""#,
        ] {
            let term = format!("{{ loss = {text} }}");
            let config: ObjectiveConfig = toml::from_str(&format!("terms = [{term}]")).unwrap();
            assert!(text.contains(config.terms[0].loss.name()), "{text}");
            built(&term, &shape(16, 3), &shape(16, 6)).unwrap();
            // It is written as it is read.
            let written = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<ObjectiveConfig>(&written).unwrap(), config);
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        assert_eq!(error(""), ObjectiveConfigError::NoTerms);
        assert_eq!(
            error(r#"{ loss = "forward_kl", temperature = 0.0 }"#).to_string(),
            "term 0: `temperature`: got 0, expected a positive number"
        );
        for (weight, field) in [
            ("-1.0", "`weight`"),
            ("nan", "`weight`"),
            ("inf", "`weight`"),
            ("{ from = 1.0, to = -0.5, steps = 9 }", "`weight.to`"),
            ("{ from = nan, to = 0.5, steps = 9 }", "`weight.from`"),
        ] {
            let error = error(&format!(r#"{{ loss = "reverse_kl", weight = {weight} }}"#));
            assert!(error.to_string().contains(field), "{error}");
        }
        for (loss, field) in [
            ("{ skew_kl = { alpha = 1.0 } }", "alpha"),
            ("{ top_k_kl = { k = 0 } }", "k"),
            ("{ sampled_kl = { draws = 0 } }", "draws"),
            ("{ sinkhorn = { epsilon = 0.0 } }", "epsilon"),
            ("{ sinkhorn = { iterations = 0 } }", "iterations"),
            ("{ logsum = { alpha = 1.0 } }", "alpha"),
            ("{ logsum = { floor = 0.0 } }", "floor"),
            ("{ info_nce = { tau = -0.1 } }", "tau"),
            ("{ relation_normalized_kl = { tau = nan } }", "tau"),
            ("{ dist = { between = -1.0 } }", "between"),
        ] {
            let error = error(&format!("{{ loss = {loss} }}")).to_string();
            assert!(error.contains(&format!("`{field}`: got")), "{error}");
        }
        let shrinkage = r#"{ loss = "cosine", norm = { whitened = { shrinkage = 2.0 } } }"#;
        assert!(error(shrinkage).to_string().contains("shrinkage`: got 2"));
        let unknown = toml::from_str::<ObjectiveConfig>(r#"terms = [{ loss = "kl" }]"#);
        assert!(unknown.unwrap_err().to_string().contains("forward_kl"));
    }

    #[test]
    fn a_layer_that_is_not_there_is_named() {
        let error =
            error(r#"{ loss = "cka", layers = { explicit = { pairs = [[2, 5], [1, 6]] } } }"#);
        assert!(matches!(
            error,
            ObjectiveConfigError::Layers { term: 0, .. }
        ));
        assert!(error.to_string().contains("[1, 6]"), "{error}");
    }

    #[test]
    fn relation_heads_that_do_not_divide_are_named() {
        let error = error(
            r#""forward_kl", { loss = { relation_mse = { heads = 3 } } }"#
                .replace(r#""forward_kl""#, r#"{ loss = "forward_kl" }"#)
                .as_str(),
        );
        assert!(
            matches!(&error, ObjectiveConfigError::RelationHeads { term: 1, problem } if problem.relation_heads == 3),
            "{error}"
        );
        let none = ModelShape {
            heads: 0,
            kv_heads: 0,
            ..shape(16, 3)
        };
        for loss in ["{ relation_kl = {} }", r#""attention_mse""#] {
            let term = format!("{{ loss = {loss} }}");
            let error = built(&term, &none, &shape(16, 3)).unwrap_err().to_string();
            assert!(error.contains("student has none"), "{error}");
        }
        let empty = "{ loss = { relation_kl = { of = [] } } }";
        assert_eq!(
            built(empty, &none, &none).unwrap_err(),
            ObjectiveConfigError::NoRelations { term: 0 }
        );
    }

    #[test]
    fn unequal_widths_need_a_projector() {
        for loss in [
            r#""hidden_mse""#,
            r#""cosine""#,
            "{ logsum = {} }",
            "{ info_nce = {} }",
            "{ dist = {} }",
        ] {
            let problem = error(&format!("{{ loss = {loss} }}")).to_string();
            assert!(
                problem.contains("16") && problem.contains("24"),
                "{problem}"
            );
            let with = format!(r#"{{ loss = {loss}, projector = "linear" }}"#);
            built(&with, &shape(16, 3), &shape(24, 6)).unwrap();
        }
        built(r#"{ loss = "cka" }"#, &shape(16, 3), &shape(24, 6)).unwrap();
        let narrow = error(r#"{ loss = "cosine", projector = { mlp = { hidden = 2 } } }"#);
        assert!(
            matches!(narrow, ObjectiveConfigError::Projector { .. }),
            "{narrow}"
        );
    }

    #[test]
    fn a_projector_of_logits_is_for_small_vocabularies() {
        let term = r#"{ loss = "forward_kl", projector = "orthogonal" }"#;
        built(term, &shape(16, 3), &shape(24, 6)).unwrap();
        let large = ModelShape {
            vocabulary: 50_257,
            ..shape(16, 3)
        };
        let error = built(term, &large, &large).unwrap_err().to_string();
        assert!(error.contains("50257"), "{error}");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (term, field) in [
            (r#"{ loss = "forward_kl", layers = "last" }"#, "layers"),
            (
                r#"{ loss = "cross_entropy", temperature = 2.0 }"#,
                "temperature",
            ),
            (
                r#"{ loss = "cka", temperature_squared = false }"#,
                "temperature_squared",
            ),
            (r#"{ loss = "attention_kl", norm = "layer" }"#, "norm"),
            (r#"{ loss = "uld", projector = "linear" }"#, "projector"),
            (
                r#"{ loss = "forward_kl", projector = "linear", norm = "rms" }"#,
                "norm",
            ),
            (
                r#"{ loss = { relation_kl = {} }, projector = "linear" }"#,
                "projector",
            ),
        ] {
            let error = error(term);
            assert!(
                matches!(error, ObjectiveConfigError::MeansNothing { field: named, .. } if named == field),
                "{error}"
            );
        }
        let twice = error(r#"{ loss = "forward_kl" }, { loss = "forward_kl", weight = 2.0 }"#);
        assert!(matches!(
            twice,
            ObjectiveConfigError::NameTwice {
                term: 1,
                first: 0,
                ..
            }
        ));
    }
}
