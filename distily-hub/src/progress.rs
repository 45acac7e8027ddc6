use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Says every few seconds how far a download is: weights take minutes to hours.
pub(crate) struct Report {
    total: u64,
    state: Mutex<State>,
}

struct State {
    files: HashMap<String, u64>,
    /// hf-hub counts the files of its faster protocol, xet, together.
    batch: u64,
    told: Instant,
}

const INTERVAL: Duration = Duration::from_secs(10);

impl Report {
    pub(crate) fn new(total: u64) -> Self {
        let state = State {
            files: HashMap::new(),
            batch: 0,
            told: Instant::now(),
        };
        Self {
            total,
            state: Mutex::new(state),
        }
    }
}

impl ProgressHandler for Report {
    fn on_progress(&self, event: &ProgressEvent) {
        let ProgressEvent::Download(event) = event else {
            return;
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            DownloadEvent::Progress { files } => {
                for file in files {
                    let done = state.files.entry(file.filename.clone()).or_default();
                    *done = file.bytes_completed.max(*done);
                }
            }
            DownloadEvent::AggregateProgress {
                bytes_completed, ..
            } => {
                state.batch = *bytes_completed;
            }
            _ => {}
        }
        if state.told.elapsed() >= INTERVAL {
            state.told = Instant::now();
            let files = state.files.values().sum::<u64>();
            // Files of a batch are counted in it, and by themselves when they are done.
            let done = state.batch.max(files).min(self.total);
            tracing::info!(
                percent = 100 * done / self.total.max(1),
                megabytes = done / 1_000_000,
                "downloading"
            );
        }
    }
}
