//! What the kernel says of this process and machine. Where it says nothing (another system, a restricted container), figures are 0.

use std::fs;
use std::path::Path;

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

/// The anonymous memory of this process. Of all figures the cheapest to ask for.
#[must_use]
pub fn anonymous_memory() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split_ascii_whitespace().skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared) * rustix::param::page_size() as u64
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
    memory_groups(&own).iter().flat_map(|(root, group, file)| limits(Path::new(root), group, file)).min()
}

/// Where the limits of the groups stand that `/proc/self/cgroup` names: the root of a hierarchy, the group in it, the file's name. The
/// second version has one hierarchy, sometimes beside those of the first; of those one may be of memory.
fn memory_groups(own: &str) -> Vec<(&'static str, String, &'static str)> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            found.push(("/sys/fs/cgroup", group.to_owned(), "memory.max"));
        } else if controllers.split(',').any(|name| name == "memory") {
            found.push(("/sys/fs/cgroup/memory", group.to_owned(), "memory.limit_in_bytes"));
        }
    }
    found
}

/// The limits of a group and of all above it: any may be the lowest. Inside a container the group's own directory may be the root.
fn limits(root: &Path, group: &str, file: &str) -> Vec<u64> {
    let mut limits = Vec::new();
    let mut path = root.join(group.trim_start_matches('/'));
    while path.starts_with(root) {
        limits.extend(fs::read_to_string(path.join(file)).ok().and_then(|text| text.trim().parse::<u64>().ok()));
        path.pop();
    }
    limits
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
    fn anonymous_memory_is_what_status_says() {
        assert!(anonymous_memory().abs_diff(memory().anonymous) < 8 << 20);
    }

    #[test]
    fn the_lowest_limit_of_the_groups_above_counts() {
        let own = "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/c\n";
        let found = memory_groups(own);
        let expected = [("/sys/fs/cgroup/memory", "/a/b", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "/c", "memory.max")];
        assert_eq!(found.iter().map(|(root, group, file)| (*root, group.as_str(), *file)).collect::<Vec<_>>(), expected);
        let root = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        fs::create_dir_all(root.path().join("a/b")).unwrap_or_else(|error| panic!("{error}"));
        for (place, text) in [("memory.max", "max\n"), ("a/memory.max", "1000\n"), ("a/b/memory.max", "2000\n")] {
            fs::write(root.path().join(place), text).unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(limits(root.path(), "/a/b", "memory.max"), [2000, 1000]);
        assert!(limits(root.path(), "/elsewhere", "memory.max").is_empty());
    }

    #[test]
    fn a_memory_limit_is_bytes_or_a_share() {
        assert_eq!(memory_limit("1048576"), 1 << 20);
        let (half, all) = (memory_limit("50%"), memory_limit("100%"));
        assert!(all > 0 && half.abs_diff(all / 2) <= 100);
    }
}
