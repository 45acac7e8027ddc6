use std::io;

/// A figure of `/proc/self/status` in bytes: `VmRSS` is what the process holds, `VmHWM` the most it
/// ever held.
///
/// # Errors
///
/// Where there is no such file (it is Linux's) or no such figure.
pub fn memory(figure: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes = status.lines().find_map(|line| {
        let rest = line.strip_prefix(figure)?.strip_prefix(':')?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other(format!("/proc/self/status has no {figure}")))
}

/// `VmHWM` is the most that the process holds from here on.
///
/// # Errors
///
/// Where there is no such file (it is Linux's).
pub fn forget_peak() -> io::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
}
