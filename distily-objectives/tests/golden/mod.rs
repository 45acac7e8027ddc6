//! What torch says of every loss, from the files beside this one.
#![allow(clippy::unwrap_used)]

pub(crate) mod features;
pub(crate) mod output;

/// How far one case is from torch, over the largest magnitude there.
pub(crate) struct Against {
    /// As a config spells it.
    pub(crate) loss: String,
    pub(crate) value: f64,
    pub(crate) gradient: f64,
}

/// The largest difference, over the largest magnitude.
pub(crate) fn error(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let largest = |values: &mut dyn Iterator<Item = f64>| {
        values.fold(0f64, |largest, x| {
            assert!(x.is_finite());
            largest.max(x.abs())
        })
    };
    let difference = largest(&mut got.iter().zip(expected).map(|(a, b)| a - b));
    difference / largest(&mut expected.iter().copied())
}
