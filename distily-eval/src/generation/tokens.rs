use super::{GenerateError, GenerationConfig, Sampler};
use distily_core::{Cache, ForwardError, LanguageModel, Seed, Taps, TokenBatch};
use rand::rngs::ChaCha8Rng;

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// With an end-of-text token or a stop string.
    Stop,
    /// With as many tokens as were asked for, or as the model has positions.
    Length,
}

/// Prompts being continued, a token at a time; for programs that show tokens as they come.
/// [`generate`](super::generate) runs one to its end.
///
/// A row ends with one of the configuration's `end_of_text` tokens, which is not part of it, after
/// its `tokens`, at the model's last position, or when [`end`](Self::end) is called.
#[derive(Debug)]
pub struct Generation<'a> {
    model: &'a dyn LanguageModel,
    config: &'a GenerationConfig,
    sampler: Sampler,
    rows: Vec<Row>,
    past: Past,
    /// The tokens that the model did not see yet.
    next: TokenBatch,
}

#[derive(Debug)]
struct Row {
    /// The prompt and what came after it.
    ids: Vec<u32>,
    prompt: usize,
    finish: Option<Finish>,
    generator: ChaCha8Rng,
}

/// What the model saw.
#[derive(Debug)]
enum Past {
    Cached(Cache),
    /// For a model that keeps no keys and values.
    Seen(Option<TokenBatch>),
}

impl<'a> Generation<'a> {
    /// Prompts of any lengths, as ids.
    ///
    /// # Errors
    ///
    /// [`GenerateError`].
    pub fn new(
        model: &'a dyn LanguageModel,
        prompts: &[Vec<u32>],
        config: &'a GenerationConfig,
    ) -> Result<Self, GenerateError> {
        let sampler = Sampler::new(config)?;
        if let Some(row) = prompts.iter().position(Vec::is_empty) {
            return Err(GenerateError::EmptyPrompt { row });
        }
        let padding = config.end_of_text.first().copied().unwrap_or(0);
        let seed = Seed(config.seed);
        let row = |(row, prompt): (u64, &Vec<u32>)| Row {
            ids: prompt.clone(),
            prompt: prompt.len(),
            finish: (config.tokens == 0).then_some(Finish::Length),
            generator: seed.generator("generation", row),
        };
        Ok(Self {
            model,
            config,
            sampler,
            rows: (0..).zip(prompts).map(row).collect(),
            past: Past::Cached(Cache::default()),
            next: TokenBatch::padded_left(prompts, padding)?,
        })
    }

    /// The new tokens of a row so far.
    pub fn new_ids(&self, row: usize) -> &[u32] {
        let row = &self.rows[row];
        &row.ids[row.prompt..]
    }

    /// Why a row ended; `None` while it goes on.
    pub fn finish(&self, row: usize) -> Option<Finish> {
        self.rows[row].finish
    }

    /// Ends a row: [`Finish::Stop`].
    pub fn end(&mut self, row: usize) {
        self.rows[row].finish = Some(Finish::Stop);
    }

    /// Adds a token to every row that has not ended; false once all have.
    ///
    /// # Errors
    ///
    /// [`GenerateError::Forward`], [`GenerateError::NotFinite`].
    pub fn step(&mut self) -> Result<bool, GenerateError> {
        if self.rows.iter().all(|row| row.finish.is_some()) {
            return Ok(false);
        }
        let logits = self.logits()?;
        let positions = self.model.shape().positions;
        let vocabulary = logits.len() / self.rows.len();
        let rows = self.rows.iter_mut().zip(logits.chunks_exact(vocabulary));
        for (at, (row, logits)) in rows.enumerate() {
            if row.finish.is_some() {
                continue;
            }
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if !highest.is_finite() || logits.iter().any(|logit| logit.is_nan()) {
                return Err(GenerateError::NotFinite { row: at });
            }
            let id = self.sampler.sample(logits, &row.ids, &mut row.generator);
            if self.config.end_of_text.contains(&id) {
                row.finish = Some(Finish::Stop);
                continue;
            }
            row.ids.push(id);
            let full = positions > 0 && row.ids.len() >= positions;
            if full || row.ids.len() - row.prompt >= self.config.tokens {
                row.finish = Some(Finish::Length);
            }
        }
        // Rows that have ended go on as padding, which nobody sees.
        let last = |row: &Row| row.ids[row.ids.len() - 1];
        let position = |row: &Row| match row.finish {
            None => (row.ids.len() - 1) as u32,
            Some(_) => 0,
        };
        self.next = TokenBatch::packed(
            self.rows.iter().map(last).collect(),
            self.rows
                .iter()
                .map(|row| u32::from(row.finish.is_none()))
                .collect(),
            [self.rows.len(), 1],
        )?
        .with_positions(self.rows.iter().map(position).collect())?;
        Ok(true)
    }

    /// The logits after the last token of each row.
    fn logits(&mut self) -> Result<Vec<f32>, ForwardError> {
        let taps = Taps::none();
        let outputs = match &mut self.past {
            Past::Cached(cache) => match self.model.forward_cached(&self.next, &taps, cache) {
                Err(ForwardError::NotCached) => {
                    self.past = Past::Seen(None);
                    return self.logits();
                }
                outputs => outputs?,
            },
            Past::Seen(seen) => {
                let all = match seen.take() {
                    None => self.next.clone(),
                    // As many rows as there were.
                    Some(past) => past.followed_by(&self.next).unwrap_or(past),
                };
                self.model.forward(seen.insert(all), &taps)?
            }
        };
        let last = outputs.of_last(1).hidden;
        let logits = self.model.head().logits(last);
        Ok(logits.into_data().iter::<f32>().collect())
    }
}
