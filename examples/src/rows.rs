use crate::Config;
use anyhow::{Context, Result};
use distily::data::{
    ChatTemplate, Columns, ContentHash, Corpus, DataError, DocumentEncoder, DocumentSource, Import,
    SourceConfig, TextTokenizer, TokenCache, TokenRows,
};
use distily::hub::Hub;
use distily::models::DecoderConfig;
use std::path::Path;

/// A configuration's documents, and how its teacher reads them.
#[derive(Debug)]
pub struct Documents {
    corpus: Corpus,
    encoder: DocumentEncoder,
    /// What is learnt from in place of the corpus.
    import: Option<Import>,
}

impl Documents {
    /// The data and the tokenizer in a teacher's folder; files are named relative to `data`.
    ///
    /// # Errors
    ///
    /// Where the tokenizer or the data can't be found.
    pub fn open(
        config: &Config,
        folder: &Path,
        teacher: &DecoderConfig,
        data: &Path,
    ) -> Result<Self> {
        let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
        tokenizer.check_vocabulary(teacher.vocabulary)?;
        let source = &config.data.source;
        let corpus = source
            .open(&Hub::from_env(), data)
            .context("`data.source`")?;
        let chat = |source: &SourceConfig| matches!(source.columns, Columns::Chat { .. });
        let chats = source.train.iter().chain(&source.held_out).any(chat);
        let import = config.teacher.import();
        Ok(Self {
            corpus,
            encoder: DocumentEncoder {
                begin_of_text: tokenizer.begin_of_text()?,
                end_of_text: teacher.end_of_text.first().copied(),
                chat_template: chats.then(|| ChatTemplate::load(folder)).transpose()?,
                ..DocumentEncoder::new(tokenizer)
            },
            import: import.map(|files| files.open(data)).transpose()?,
        })
    }

    /// The keys of their entries in a cache.
    ///
    /// # Errors
    ///
    /// Where the documents can't be read.
    pub fn keys(&self) -> Result<Vec<ContentHash>, DataError> {
        let of_training = match self.import {
            Some(_) => None,
            None => Some(self.encoder.key(&self.corpus.train())?),
        };
        let of_held_out = self.encoder.key(&self.corpus.held_out())?;
        Ok(of_training.into_iter().chain([of_held_out]).collect())
    }
}

/// A configuration's data as a teacher reads it.
#[derive(Debug)]
pub struct Rows {
    /// To learn from.
    pub train: TokenRows,
    /// What was imported to learn from, if it was.
    pub import: Option<Import>,
    /// To measure on.
    pub held_out: TokenRows,
    /// What the teacher's tokenizer is.
    pub tokenizer: ContentHash,
}

impl Rows {
    /// See [`Documents::open`]; the tokens are kept where the configuration says.
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
        let Documents {
            corpus,
            encoder,
            import,
        } = Documents::open(config, folder, teacher, data)?;
        let (packing, length) = (config.data.packing, config.data.length);
        let cache = TokenCache::new(&config.data.cache);
        let tokens = |documents: &dyn DocumentSource| cache.tokens(documents, &encoder);
        let held_out = tokens(&corpus.held_out()).context("`data.source.held_out`")?;
        let train = match &import {
            None => {
                let train = tokens(&corpus.train()).context("`data.source.train`")?;
                TokenRows::pack(train, packing, length)?
            }
            Some(import) => {
                let special = encoder.begin_of_text.into_iter().chain(encoder.end_of_text);
                let both = import.count_in(&held_out, &special.collect::<Vec<_>>())?;
                anyhow::ensure!(
                    both == 0,
                    "{both} of the imported sequences are documents of `data.source.held_out`: measure with others"
                );
                import.rows(length)?
            }
        };
        let held_out = TokenRows::pack(held_out, packing, length)?;
        Ok(Self {
            train,
            import,
            held_out: held_out.limited_to(config.evaluation.tokens),
            tokenizer: encoder.tokenizer.hash(),
        })
    }
}
