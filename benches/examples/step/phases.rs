use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::Subscriber;
use tracing::span::Id;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// How long the trainer's spans took, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phases(Arc<Mutex<BTreeMap<&'static str, Duration>>>);

impl Phases {
    /// Seconds since the last call.
    pub(crate) fn take(&self) -> BTreeMap<&'static str, f64> {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *times)
            .into_iter()
            .map(|(name, time)| (name, time.as_secs_f64()))
            .collect()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Phases {
    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(Instant::now());
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(start) = span.extensions().get::<Instant>() {
            let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *times.entry(span.name()).or_default() += start.elapsed();
        }
    }
}
