//! What the kernel says of this process and machine. Where it says nothing (another system, a restricted container), figures are 0.

use std::fs;

/// Memory of this process in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// All pages in memory.
    pub resident: u64,
    /// Its own pages: what the allocator took.
    pub anonymous: u64,
    /// Pages of mapped files: segments and index, as far as touched.
    pub file: u64,
    /// Pages of shared memory.
    pub shared: u64,
}

/// Processor time of this process in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CpuTimes {
    /// In the kernel.
    pub system: f64,
    /// In the program.
    pub user: f64,
    /// In the kernel, by children that ended.
    pub children_system: f64,
    /// In programs, by children that ended.
    pub children_user: f64,
}

/// Memory of this process now.
#[must_use]
pub fn memory() -> Memory {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name| kilobytes(&status, name);
    Memory { resident: field("VmRSS:"), anonymous: field("RssAnon:"), file: field("RssFile:"), shared: field("RssShmem:") }
}

/// The machine's memory.
#[must_use]
pub fn physical_memory() -> u64 {
    kilobytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:")
}

fn kilobytes(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The limit of the control group that this process runs in, if there is one.
#[must_use]
pub fn cgroup_memory_limit() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    // A limit may be set at any level above; inside a container the group's own directory is the root.
    let mut limits = Vec::new();
    let mut path = std::path::PathBuf::from(format!("/sys/fs/cgroup{group}"));
    while path.starts_with("/sys/fs/cgroup") {
        limits.extend(fs::read_to_string(path.join("memory.max")).ok().and_then(|text| text.trim().parse::<u64>().ok()));
        path.pop();
    }
    limits.extend(fs::read_to_string("/sys/fs/cgroup/memory/memory.limit_in_bytes").ok().and_then(|text| text.trim().parse::<u64>().ok()));
    limits.into_iter().min()
}

/// `memory-limit` in bytes: as given, or the given share of the control group's or the machine's memory.
#[must_use]
pub fn memory_limit(value: &str) -> u64 {
    match value.strip_suffix('%').and_then(|percent| percent.parse::<u64>().ok()) {
        Some(percent) => {
            let physical = physical_memory();
            cgroup_memory_limit().map_or(physical, |limit| limit.min(physical)) / 100 * percent
        }
        None => value.parse().unwrap_or(0),
    }
}

/// Processor time of this process so far.
#[must_use]
pub fn cpu_times() -> CpuTimes {
    /// Linux reports in these whatever the kernel's own tick is.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name and may hold spaces; what follows its closing parenthesis is the third.
    let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().collect()).unwrap_or_default();
    let ticks = |field: usize| fields.get(field - 3).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0) / TICKS_A_SECOND;
    CpuTimes { user: ticks(14), system: ticks(15), children_user: ticks(16), children_system: ticks(17) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_the_machine_has_more() {
        let memory = memory();
        assert!(memory.anonymous > 0 && memory.resident >= memory.anonymous);
        assert!(physical_memory() > memory.resident);
    }

    #[test]
    fn a_memory_limit_is_bytes_or_a_share() {
        assert_eq!(memory_limit("1048576"), 1 << 20);
        let (half, all) = (memory_limit("50%"), memory_limit("100%"));
        assert!(all > 0 && half.abs_diff(all / 2) <= 100);
    }
}
