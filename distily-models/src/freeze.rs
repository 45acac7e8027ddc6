use crate::ModelError;
use crate::fill::collect;
use burn::module::{Module, ParamGroup};
use regex::Regex;

/// Freezes the parameters whose names match any of the patterns (regular expressions, found
/// anywhere in the name): they get no gradient and no optimizer state.
///
/// ```
/// # use distily_core::Seed;
/// # use distily_models::{Decoder, DecoderConfig, freeze};
/// # let device = burn::tensor::Device::flex().autodiff();
/// # let config = DecoderConfig { vocabulary: 10, layers: 2, ..DecoderConfig::default() };
/// let student = Decoder::random(&config, Seed(0), &device)?;
/// let student = freeze(student, &["embed_tokens", r"layers\.0\."])?;
/// assert!(!student.embed_tokens.weight.val().is_require_grad());
/// assert!(student.norm.weight.val().is_require_grad());
/// # Ok::<(), distily_models::ModelError>(())
/// ```
///
/// # Errors
///
/// [`ModelError::Pattern`] for a pattern that is not a regular expression or matches nothing.
pub fn freeze<M: Module>(module: M, patterns: &[impl AsRef<str>]) -> Result<M, ModelError> {
    let names = collect(&module, |parameter, _| parameter.path.to_owned());
    let mut frozen = Vec::new();
    for pattern in patterns {
        let pattern = pattern.as_ref();
        let error = |problem: String| ModelError::Pattern {
            pattern: pattern.to_owned(),
            problem,
            examples: names.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
        };
        let regex = Regex::new(pattern).map_err(|e| error(format!("is not one: {e}")))?;
        let before = frozen.len();
        frozen.extend(names.iter().filter(|name| regex.is_match(name)).cloned());
        if frozen.len() == before {
            return Err(error("matches no parameter".to_owned()));
        }
    }
    Ok(module.freeze_group(ParamGroup::from_paths(frozen)))
}
