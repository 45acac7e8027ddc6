use crate::Config;
use anyhow::Result;
use distily::data::{
    ChatTemplate, Columns, ContentHash, DocumentEncoder, DocumentSource, SourceConfig,
    TextTokenizer, TokenCache, TokenRows,
};
use distily::hub::Hub;
use distily::models::DecoderConfig;
use std::path::Path;

/// A configuration's data as a teacher reads it.
#[derive(Debug)]
pub struct Rows {
    /// To learn from.
    pub train: TokenRows,
    /// To measure on.
    pub held_out: TokenRows,
    /// What the teacher's tokenizer is.
    pub tokenizer: ContentHash,
}

impl Rows {
    /// The data by the tokenizer in a teacher's folder; files are named relative to `data`.
    ///
    /// # Errors
    ///
    /// Where the tokenizer or the data can't be read.
    pub fn open(
        config: &Config,
        folder: &Path,
        teacher: &DecoderConfig,
        data: &Path,
    ) -> Result<Self> {
        let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
        tokenizer.check_vocabulary(teacher.vocabulary)?;
        let hash = tokenizer.hash();
        let source = &config.data.source;
        let corpus = source.open(&Hub::from_env(), data)?;
        let chat = |source: &SourceConfig| matches!(source.columns, Columns::Chat { .. });
        let chats = source.train.iter().chain(&source.held_out).any(chat);
        let encoder = DocumentEncoder {
            begin_of_text: tokenizer.begin_of_text()?,
            end_of_text: teacher.end_of_text.first().copied(),
            chat_template: chats.then(|| ChatTemplate::load(folder)).transpose()?,
            ..DocumentEncoder::new(tokenizer)
        };
        let cache = TokenCache::new(&config.data.cache);
        let rows = |documents: &dyn DocumentSource| -> Result<TokenRows> {
            let tokens = cache.tokens(documents, &encoder)?;
            Ok(TokenRows::pack(
                tokens,
                config.data.packing,
                config.data.length,
            )?)
        };
        Ok(Self {
            train: rows(&corpus.train())?,
            held_out: rows(&corpus.held_out())?.limited_to(config.evaluation.tokens),
            tokenizer: hash,
        })
    }
}
