use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// An iterator whose next items are made on another thread before they are asked for, at most so
/// many. Dropping it ends the thread.
#[derive(Debug)]
pub struct Prefetch<T> {
    items: Option<Receiver<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Makes `ahead` items in advance (with 0, the next one while the present one is used).
    pub fn new(items: impl Iterator<Item = T> + Send + 'static, ahead: usize) -> Self {
        let (sender, receiver) = sync_channel(ahead);
        let thread = std::thread::spawn(move || {
            for item in items {
                // Nobody asks any more.
                if sender.send(item).is_err() {
                    break;
                }
            }
        });
        Self {
            items: Some(receiver),
            thread: Some(thread),
        }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let item = self.items.as_ref()?.recv().ok();
        if item.is_none() {
            self.items = None;
            // A panic of the other thread is one of this thread's, not an end.
            if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                std::panic::resume_unwind(panic);
            }
        }
        item
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.items = None;
        // Waits for the item that is being made; a panic in it concerns nobody any more.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn all_items_come_in_their_order() {
        assert!(Prefetch::new(0..100, 3).eq(0..100));
        assert_eq!(Prefetch::new(0..0, 3).next(), None);
    }

    #[test]
    fn items_are_made_in_advance_but_not_without_bound_and_a_drop_ends_it() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = made.clone();
        let items = (0..).inspect(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let mut items = Prefetch::new(items, 4);
        assert_eq!(items.next(), Some(0));
        // One was taken, four wait, one is made and can't be handed over.
        let deadline = Instant::now() + Duration::from_secs(10);
        while made.load(Ordering::SeqCst) < 6 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(made.load(Ordering::SeqCst), 6);
        drop(items);
        assert_eq!(Arc::strong_count(&made), 1, "the thread has ended");
    }

    #[test]
    #[should_panic(expected = "broken item")]
    fn a_panic_is_not_an_end() {
        let items = (0..3).inspect(|item| assert!(*item < 2, "broken item"));
        assert_eq!(Prefetch::new(items, 1).count(), 3);
    }
}
