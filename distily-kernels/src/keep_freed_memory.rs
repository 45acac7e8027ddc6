use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// `mi_option_purge_delay` of mimalloc.h, which the crate has no name for.
const PURGE_DELAY: mi_option_t = 15;

/// Tells mimalloc, where it is the program's allocator, to give nothing back to the operating
/// system: what a training step frees, the next one takes. Otherwise each step gets hundreds of
/// megabytes anew, and the system fills them with zeros first. On Linux it also refuses transparent
/// huge pages: kept memory has no use for them, and they round up every piece of it.
///
/// For a program to call once, before it trains; the most memory it ever had stays its own. The
/// environment variable `MIMALLOC_PURGE_DELAY` is stronger.
pub fn keep_freed_memory() {
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

    #[test]
    fn the_number_is_that_of_the_option() {
        // SAFETY: it reads one number of mimalloc's options.
        #[allow(unsafe_code)]
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // Milliseconds, and no other option of this version has this default.
        assert_eq!(delay(), 1000);
        keep_freed_memory();
        assert_eq!(delay(), -1);
        #[cfg(target_os = "linux")]
        {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            assert!(!status.contains("THP_enabled:\t1"), "{status}");
        }
    }
}
