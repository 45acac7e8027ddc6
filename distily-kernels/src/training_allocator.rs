use libmimalloc_sys::{mi_option_set_default, mi_option_t};
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

/// `mi_option_purge_delay` of mimalloc.h, which the crate has no name for.
const PURGE_DELAY: mi_option_t = 15;

/// Blocks of at least this many bytes come from the system: they are few, and the holes that they
/// leave in kept memory fill up with smaller ones, so that the next of them finds no place.
const HUGE: usize = 64 << 20;

/// Only programs with tensors have blocks of so many bytes.
const LARGE: usize = 1 << 20;

/// A global allocator for programs that train: mimalloc, told to give nothing back to the operating
/// system. What a training step frees, the next one takes; otherwise each step gets hundreds of
/// megabytes anew, and the system fills them with zeros first. Only blocks of 64 MiB and more, the
/// tables of a vocabulary, come from the system and go back to it.
///
/// On Linux it also refuses transparent huge pages, for the whole process and those that it starts: kept
/// memory has no use for them, and they round up every piece of it. All this begins with the first
/// block of 1 MiB. The environment variable `MIMALLOC_PURGE_DELAY` (milliseconds) is stronger.
///
/// ```no_run
/// use distily_kernels::TrainingAllocator;
///
/// #[global_allocator]
/// static ALLOCATOR: TrainingAllocator = TrainingAllocator;
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct TrainingAllocator;

// SAFETY: a block goes back to the allocator that it came from: its size says which, and is the same
// in every call for it.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for TrainingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those of both allocators.
        unsafe { of(layout.size()).alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { of(layout.size()).alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is of the allocator that its size says.
        unsafe { of(layout.size()).dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if (layout.size() < HUGE) == (size < HUGE) {
            // SAFETY: the block is of the allocator that its size says, and stays there.
            return unsafe { of(size).realloc(block, layout, size) };
        }
        // SAFETY: the caller promises that the size is one that a layout may have. The old block and
        // the new are two, as long as the bytes that are copied, and nobody frees the old one before.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

/// The allocator of blocks of this size.
fn of(size: usize) -> &'static dyn GlobalAlloc {
    static KEEPS: AtomicBool = AtomicBool::new(false);
    if size >= HUGE {
        return &System;
    }
    if size >= LARGE && !KEEPS.swap(true, Ordering::Relaxed) {
        keep_freed_memory();
    }
    &MiMalloc
}

fn keep_freed_memory() {
    // SAFETY: it writes one number of mimalloc's options, which may be done at any time.
    #[allow(unsafe_code)]
    unsafe {
        mi_option_set_default(PURGE_DELAY, -1);
    }
    #[cfg(target_os = "linux")]
    // SAFETY: it sets one flag of this process. Where the system does not know it, nothing happens.
    #[allow(unsafe_code)]
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In one test, because the first large block sets the options of the process.
    #[test]
    #[allow(unsafe_code)]
    fn large_blocks_set_the_options_and_keep_their_bytes() {
        // SAFETY: it reads one number of mimalloc's options.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // Milliseconds, and no other option of this version has this default.
        assert_eq!(delay(), 1000);
        let sizes = [100, LARGE, HUGE - 1, HUGE, HUGE + LARGE, HUGE - 1, 50];
        for align in [1, 64] {
            let layout = |size| Layout::from_size_align(size, align).unwrap();
            // SAFETY: each block is written and read inside its size, and freed once with it.
            unsafe {
                let mut block = TrainingAllocator.alloc(layout(sizes[0]));
                block.write_bytes(7, 40);
                for pair in sizes.windows(2) {
                    block = TrainingAllocator.realloc(block, layout(pair[0]), pair[1]);
                    assert!(block.addr() % align == 0);
                    assert!(
                        std::slice::from_raw_parts(block, 40)
                            .iter()
                            .all(|&b| b == 7)
                    );
                    block.add(pair[1] - 1).write(1);
                }
                TrainingAllocator.dealloc(block, layout(50));
                let zeroed = TrainingAllocator.alloc_zeroed(layout(HUGE));
                assert_eq!(zeroed.add(HUGE - 1).read(), 0);
                TrainingAllocator.dealloc(zeroed, layout(HUGE));
            }
        }
        assert_eq!(delay(), -1);
        #[cfg(target_os = "linux")]
        {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            assert!(!status.contains("THP_enabled:\t1"), "{status}");
        }
    }
}
