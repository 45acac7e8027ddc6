use crate::DataError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A split of a data set, or a slice of its rows, as the Python tools write it: `train`,
/// `train[:10%]`, `train[100:200]`, `train[-1000:]`. Rows are counted from 0 and the end is not
/// included; a negative bound counts from the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Split {
    name: String,
    from: Option<Bound>,
    to: Option<Bound>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Row(i64),
    Percent(i64),
}

impl Split {
    /// All rows of a split.
    pub fn whole(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            from: None,
            to: None,
        }
    }

    /// The split, without the slice.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rows, where that is known without counting them all.
    pub(crate) fn rows(&self) -> Option<Range<u64>> {
        let row = |bound: Option<Bound>, default| match bound {
            None => Some(default),
            Some(Bound::Row(row)) => u64::try_from(row).ok(),
            Some(Bound::Percent(_)) => None,
        };
        Some(row(self.from, 0)?..row(self.to, u64::MAX)?)
    }

    /// The rows of so many.
    pub(crate) fn rows_of(&self, count: u64) -> Range<u64> {
        let bound = |bound: Option<Bound>, default| match bound {
            None => default,
            Some(bound) => bound.of(count),
        };
        bound(self.from, 0)..bound(self.to, count)
    }
}

impl Bound {
    fn of(self, count: u64) -> u64 {
        let (from_end, distance) = match self {
            Self::Row(row) => (row < 0, row.unsigned_abs()),
            // To the nearest row, as Python rounds: a half to the even one.
            Self::Percent(percent) => {
                let rows = percent.unsigned_abs() as f64 * count as f64 / 100.0;
                (percent < 0, rows.round_ties_even() as u64)
            }
        };
        if from_end {
            count.saturating_sub(distance)
        } else {
            distance.min(count)
        }
    }
}

impl FromStr for Bound {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.strip_suffix('%') {
            Some(percent) => match percent.parse() {
                Ok(percent @ -100..=100) => Ok(Self::Percent(percent)),
                _ => Err(()),
            },
            None => text.parse().map(Self::Row).map_err(|_| ()),
        }
    }
}

impl FromStr for Split {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let parse = || {
            let (name, slice) = match text.split_once('[') {
                None => (text, None),
                Some((name, slice)) => (name, Some(slice.strip_suffix(']')?.split_once(':')?)),
            };
            let bound = |text: &str| match text.trim() {
                "" => Some(None),
                bound => bound.parse().ok().map(Some),
            };
            let (from, to) = slice.unwrap_or_default();
            let name = Some(name.trim()).filter(|name| !name.is_empty() && !name.contains('+'))?;
            Some(Self {
                name: name.to_owned(),
                from: bound(from)?,
                to: bound(to)?,
            })
        };
        parse().ok_or_else(|| DataError::Config {
            field: "split",
            got: format!("{text:?}"),
            expected: "a split such as `train`, or a slice of one such as `train[:10%]` or `train[100:200]` (whole percents); several are several sources",
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row) => write!(f, "{row}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.from.is_none() && self.to.is_none() {
            return Ok(());
        }
        let bound = |bound: Option<Bound>| bound.map(|bound| bound.to_string()).unwrap_or_default();
        write!(f, "[{}:{}]", bound(self.from), bound(self.to))
    }
}

impl TryFrom<String> for Split {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<Split> for String {
    fn from(split: Split) -> Self {
        split.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slices_are_those_of_the_python_tools() {
        // Rows of 15: `datasets` rounds 7.5 to 8 and 4.5 to 4.
        for (text, rows) in [
            ("train", 0..15),
            ("train[:10%]", 0..2),
            ("train[30%:50%]", 4..8),
            ("train[-20%:]", 12..15),
            ("train[2:5]", 2..5),
            ("train[-3:-1]", 12..14),
            ("train[:100]", 0..15),
            ("train[-100:1]", 0..1),
        ] {
            let split: Split = text.parse().unwrap();
            assert_eq!(split.rows_of(15), rows, "{text}");
            assert_eq!(split.to_string(), text);
        }
        let known = |text: &str| text.parse::<Split>().unwrap().rows();
        assert_eq!(known("train[2:5]"), Some(2..5));
        assert_eq!(known("train[2:]"), Some(2..u64::MAX));
        assert_eq!((known("train[-2:]"), known("train[:1%]")), (None, None));
    }

    #[test]
    fn what_is_no_slice() {
        for text in [
            "",
            "[1:2]",
            "train[",
            "train[1]",
            "train[1:2",
            "train[a:]",
            "train[:101%]",
            "train[:1.5%]",
            "train[1:2]x",
            "train+test",
        ] {
            let error = text.parse::<Split>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn neighbouring_slices_share_no_row(percent in 0..=100i64, count in 0..10_000u64) {
            let first: Split = format!("train[:{percent}%]").parse().unwrap();
            let rest: Split = format!("train[{percent}%:]").parse().unwrap();
            prop_assert_eq!(first.rows_of(count).end, rest.rows_of(count).start);
            prop_assert_eq!(rest.rows_of(count).end, count);
        }
    }
}
