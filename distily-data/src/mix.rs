use crate::DataError;
use crate::source::{SourceConfig, Taken};

/// Rows of several sources: one after the other; or, where they have weights, always of the one that
/// lacks most of its share of the text, until one is used up.
pub(crate) struct Mix<I> {
    sources: Vec<Share<I>>,
    weighted: bool,
}

struct Share<I> {
    name: String,
    rows: I,
    weight: f64,
    /// Bytes that were taken of it.
    bytes: usize,
}

impl<I> Mix<I> {
    pub(crate) fn new(sources: Vec<(&SourceConfig, I)>) -> Result<Self, DataError> {
        let weighted = sources.iter().any(|(config, _)| config.weight.is_some());
        let weight = |config: &SourceConfig| match config.weight {
            Some(weight) if weight > 0.0 && weight.is_finite() => Ok(weight),
            None if !weighted => Ok(1.0),
            got => Err(DataError::Config {
                field: "weight",
                got: got.map_or("none".to_owned(), |weight| weight.to_string()),
                expected: "a weight above 0 for each of the sources, or for none",
            }),
        };
        let shares = sources.into_iter().map(|(config, rows)| {
            Ok(Share {
                name: config.name.clone(),
                rows,
                weight: weight(config)?,
                bytes: 0,
            })
        });
        Ok(Self {
            sources: shares.collect::<Result<_, DataError>>()?,
            weighted,
        })
    }
}

impl<I: Iterator<Item = Result<Taken, DataError>>> Iterator for Mix<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        if !self.weighted {
            return self
                .sources
                .iter_mut()
                .find_map(|source| source.rows.next());
        }
        let has = |share: &Share<I>| share.bytes as f64 / share.weight;
        let next = self
            .sources
            .iter_mut()
            .min_by(|a, b| has(a).total_cmp(&has(b)))?;
        let row = next.rows.next();
        if row.is_none() {
            tracing::info!(
                name = next.name,
                "used up: what is left of the other sources is not taken"
            );
        }
        if let Some(Ok(Taken::Document(document))) = &row {
            next.bytes += document.size();
        }
        row
    }
}
