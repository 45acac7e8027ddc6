use burn::tensor::Device;
#[cfg(feature = "flex")]
use std::sync::{Mutex, TryLockError};

/// Runs `f`, which works on tensors of a device. If that is burn's CPU backend, `f` runs on a thread of
/// rayon's pool, which shares the work between the cores: to give work to the pool from another thread
/// and to hear that it is done takes tens of microseconds, more than the work on a small tensor. So
/// who calls many operations, such as those of a training step, does it in here. Calls within calls cost
/// nothing.
///
/// `f` must not wait for a thread that itself waits for the pool, and what is kept for each thread (a
/// `tracing` subscriber, a `tokio` runtime) is not there. While the pool has one `f`, those of other threads
/// run where they are: a thread of the pool that waits for a part of its work takes up other work, which
/// should not be a second step that waits for what the first one holds. On a pool of one thread, `f` runs
/// where it is, too.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use distily_kernels::{on_pool, rms_norm};
///
/// let device = Device::flex();
/// let x = Tensor::<2>::ones([512, 64], &device);
/// let weight = Tensor::ones([64], &device);
/// let normal = on_pool(&device, || (0..12).fold(x, |x, _| rms_norm(x, weight.clone(), 1e-6)));
/// assert_eq!(normal.dims(), [512, 64]);
/// ```
#[cfg_attr(not(feature = "flex"), allow(unused_variables))]
pub fn on_pool<R: Send>(device: &Device, f: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "flex")]
    if crate::native::is_flex(device)
        && rayon::current_thread_index().is_none()
        && rayon::current_num_threads() > 1
    {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = match ONE.try_lock() {
            Err(TryLockError::WouldBlock) => return f(),
            // It guards nothing that a panic could have left half changed.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Ok(one) => one,
        };
        return rayon::scope(|_| f());
    }
    f()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    /// One of all tests here, as two at once would meet.
    #[test]
    fn work_of_the_cpu_backend_runs_on_the_pool() {
        if rayon::current_num_threads() == 1 {
            return;
        }
        for device in [Device::flex(), Device::flex().autodiff()] {
            let inside = on_pool(&device, || {
                on_pool(&device, rayon::current_thread_index).zip(rayon::current_thread_index())
            });
            // The call within stays on its thread.
            assert!(inside.is_some_and(|(inner, outer)| inner == outer));
        }
        let device = Device::flex();
        let of_another = on_pool(&device, || {
            let another = || on_pool(&device, rayon::current_thread_index);
            std::thread::scope(|scope| scope.spawn(another).join())
        });
        assert_eq!(of_another.unwrap(), None);
        // Nor does a panic leave the pool taken.
        let panicked = std::panic::catch_unwind(|| on_pool(&Device::flex(), || panic!("in there")));
        assert!(panicked.is_err());
        assert!(on_pool(&device, rayon::current_thread_index).is_some());
    }
}
