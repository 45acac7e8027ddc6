use burn::tensor::{Bool, Device, Tensor, TensorData};
use std::sync::Arc;

/// Which document each token of a batch belongs to, `[batch, seq]`; 0 is padding.
///
/// A token sees the tokens before it in its own document, and itself; with a window, only the last
/// of them. Padding is seen by nobody but itself. It lives in the host's memory, and clones share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    ids: Arc<[u32]>,
    shape: [usize; 2],
    window: usize,
}

impl Segments {
    /// Segments `[batch, seq]` from ids row after row.
    ///
    /// # Panics
    ///
    /// If there are not as many ids as the shape says.
    pub fn new(ids: impl Into<Arc<[u32]>>, shape: [usize; 2]) -> Self {
        let ids = ids.into();
        assert_eq!(ids.len(), shape[0] * shape[1], "ids do not fill the shape");
        Self {
            ids,
            shape,
            window: usize::MAX,
        }
    }

    /// The same, but a token sees at most the last `window` tokens, itself among them (Beltagy et
    /// al., 2004.05150; as in Mistral).
    ///
    /// # Panics
    ///
    /// If the window is 0: a token sees at least itself.
    pub fn within(&self, window: usize) -> Self {
        assert!(window > 0, "a window of no token");
        Self {
            window,
            ..self.clone()
        }
    }

    /// `[batch, seq]`.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The ids, row after row.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The ids of each row.
    pub fn rows(&self) -> impl Iterator<Item = &[u32]> {
        self.ids.chunks_exact(self.shape[1].max(1))
    }

    /// These tokens and then `next` in each row; `None` if the rows are not as many.
    pub fn followed_by(&self, next: &Self) -> Option<Self> {
        if self.shape[0] != next.shape[0] {
            return None;
        }
        let ids: Vec<u32> = self
            .rows()
            .zip(next.rows())
            .flat_map(|(past, next)| past.iter().chain(next).copied())
            .collect();
        let shape = [self.shape[0], self.shape[1] + next.shape[1]];
        Some(Self {
            window: self.window,
            ..Self::new(ids, shape)
        })
    }

    /// The most tokens that a token sees.
    #[cfg(feature = "flex")]
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// Whether token `t` of a row sees token `s` of it, its window aside.
    #[inline(always)]
    pub(crate) fn sees(row: &[u32], t: usize, s: usize) -> bool {
        s == t || (s < t && row[s] == row[t] && row[t] != 0)
    }

    /// Whether causality is the only mask.
    pub(crate) fn is_plain(&self) -> bool {
        self.rows()
            .all(|row| row[0] != 0 && row.iter().all(|&segment| segment == row[0]))
    }

    /// Where the last `queries` tokens must not look, `[batch, 1, queries, seq]`; the batch axis is
    /// 1 where causality is the only mask.
    pub(crate) fn hidden_from(&self, queries: usize, device: &Device) -> Tensor<4, Bool> {
        let [batch, seq] = self.shape;
        let rows = if self.is_plain() { 1 } else { batch };
        let mask: Vec<bool> = self
            .rows()
            .take(rows)
            .flat_map(|row| {
                (seq - queries..seq).flat_map(move |t| {
                    (0..seq).map(move |s| !Self::sees(row, t, s) || t - s >= self.window)
                })
            })
            .collect();
        Tensor::from_data(TensorData::new(mask, [rows, 1, queries, seq]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_sees_the_past_of_its_own_document() {
        let row = [1, 1, 2, 2, 2, 0, 0];
        let sees = |t, s| Segments::sees(&row, t, s);
        assert!(sees(1, 0) && sees(1, 1) && !sees(0, 1));
        assert!(!sees(2, 1) && sees(4, 2));
        assert!(sees(6, 6) && !sees(6, 5));
    }

    #[test]
    fn a_window_ends_with_the_token_itself() {
        let row = Segments::new(vec![1; 4], [1, 4]).within(2);
        let last = row.hidden_from(1, &Device::flex()).into_data();
        assert_eq!(
            last.iter::<bool>().collect::<Vec<_>>(),
            [true, true, false, false]
        );
    }

    #[test]
    fn left_padding_in_a_cache_is_not_seen() {
        let cached = Segments::new(vec![0, 1], [1, 2]);
        let all = cached.followed_by(&Segments::new(vec![1], [1, 1])).unwrap();
        let mask = all.hidden_from(1, &Device::flex()).into_data();
        assert_eq!(
            mask.iter::<bool>().collect::<Vec<_>>(),
            [true, false, false]
        );
    }
}
