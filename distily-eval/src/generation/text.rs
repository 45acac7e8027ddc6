use super::{Finish, GenerateError, Generation, GenerationConfig};
use distily_core::LanguageModel;
use distily_data::TextTokenizer;

/// A continued prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    /// The new text, without the string that ended it.
    pub text: String,
    /// The new tokens, with those of a string that ended it.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
}

/// Continues prompts, which may have different lengths, and are given as ids: of
/// [`TextTokenizer::prompt`], or of a chat template.
///
/// # Errors
///
/// [`GenerateError`].
pub fn generate(
    model: &dyn LanguageModel,
    tokenizer: &TextTokenizer,
    prompts: &[Vec<u32>],
    config: &GenerationConfig,
) -> Result<Vec<Continuation>, GenerateError> {
    let mut generation = Generation::new(model, prompts, config)?;
    // The texts that a stop string cut.
    let mut cut: Vec<Option<String>> = vec![None; prompts.len()];
    while generation.step()? {
        for (row, cut) in cut.iter_mut().enumerate() {
            if config.stop.is_empty() || cut.is_some() {
                continue;
            }
            let text = tokenizer.decode(generation.new_ids(row))?;
            let ends = config.stop.iter().filter_map(|stop| text.find(stop));
            if let Some(end) = ends.min() {
                *cut = Some(text[..end].to_owned());
                generation.end(row);
            }
        }
    }
    cut.into_iter()
        .enumerate()
        .map(|(row, cut)| {
            let ids = generation.new_ids(row).to_vec();
            Ok(Continuation {
                text: match cut {
                    Some(text) => text,
                    None => tokenizer.decode(&ids)?,
                },
                ids,
                finish: generation.finish(row).unwrap_or(Finish::Length),
            })
        })
        .collect()
}
