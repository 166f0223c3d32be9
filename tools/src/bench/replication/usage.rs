//! What processes and the machine have used, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::path::Path;

/// What a process has used since its start.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Usage {
    /// Seconds of CPU, user and system, of each thread there is.
    pub(super) threads: BTreeMap<u64, f64>,
    /// Bytes that it caused to be written to the disk, counted when pages become dirty.
    pub(super) disk: u64,
}

impl Usage {
    pub(super) fn of(pid: u32) -> Self {
        let root = format!("/proc/{pid}");
        let text = |name: &str| read_to_string(Path::new(&root).join(name)).unwrap_or_default();
        let tasks = std::fs::read_dir(format!("{root}/task")).into_iter().flatten().flatten();
        let thread = |task: std::fs::DirEntry| {
            let text = |name: &str| read_to_string(task.path().join(name)).unwrap_or_default();
            // In nanoseconds where the kernel has them, and not in hundredths of a second.
            let seconds = nanos(&text("schedstat")).or_else(|| cpu(&text("stat")))?;
            Some((task.file_name().to_str()?.parse().ok()?, seconds))
        };
        Self { threads: tasks.filter_map(thread).collect(), disk: kernel_field(&text("io"), "write_bytes").unwrap_or(0) }
    }

    fn used_since(&self, before: &Self) -> impl Iterator<Item = f64> {
        self.threads.iter().map(|(thread, seconds)| seconds - before.threads.get(thread).unwrap_or(&0.0))
    }

    /// CPU seconds since `before`, but of threads that have ended.
    pub(super) fn cpu_since(&self, before: &Self) -> f64 {
        self.used_since(before).sum()
    }

    /// CPU seconds of the thread that used the most since `before`.
    pub(super) fn busiest_since(&self, before: &Self) -> f64 {
        self.used_since(before).fold(0.0, f64::max)
    }
}

/// Anonymous memory of a process in bytes.
pub(super) fn anonymous_memory(pid: u32) -> u64 {
    read_to_string(format!("/proc/{pid}/status")).ok().and_then(|text| kernel_field(&text, "RssAnon")).unwrap_or(0) * 1024
}

/// CPU seconds in a `schedstat`.
fn nanos(schedstat: &str) -> Option<f64> {
    Some(schedstat.split_ascii_whitespace().next()?.parse::<u64>().ok()? as f64 / 1e9)
}

/// CPU seconds in a `stat` of a process or a thread.
fn cpu(stat: &str) -> Option<f64> {
    // The name may hold anything, parentheses too.
    let after = &stat[stat.rfind(')')? + 1..];
    let ticks: Vec<u64> = after.split_ascii_whitespace().skip(11).take(2).map_while(|text| text.parse().ok()).collect();
    Some((ticks.first()? + ticks.get(1)?) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn kernel_field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// Seconds that all the machine's processors together have spent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Machine {
    pub(super) all: f64,
    /// Neither at work nor waiting for a disk.
    pub(super) idle: f64,
    pub(super) iowait: f64,
    /// Taken by the host.
    pub(super) steal: f64,
}

impl Machine {
    pub(super) fn now() -> Self {
        Self::parse(&read_to_string("/proc/stat").unwrap_or_default())
    }

    fn parse(stat: &str) -> Self {
        let second = rustix::param::clock_ticks_per_second() as f64;
        let line = stat.lines().next().unwrap_or_default();
        let times: Vec<f64> = line.split_ascii_whitespace().skip(1).take(8).map_while(|text| text.parse().ok()).collect();
        let time = |number: usize| times.get(number).copied().unwrap_or(0.0) / second;
        Self { all: times.iter().sum::<f64>() / second, idle: time(3), iowait: time(4), steal: time(7) }
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self {
            all: self.all - before.all,
            idle: self.idle - before.idle,
            iowait: self.iowait - before.iowait,
            steal: self.steal - before.steal,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let second = rustix::param::clock_ticks_per_second();
        let stat = format!("7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 {} {} 5 6 20 0 4 0 1 2", 3 * second, second);
        assert_eq!(cpu(&stat), Some(4.0));
        assert_eq!(cpu("7 (name"), None);
        assert_eq!((nanos("2500000000 17 3\n"), nanos("")), (Some(2.5), None));
        assert_eq!(kernel_field("rchar: 1\nwrite_bytes: 4096\n", "write_bytes"), Some(4096));
        assert_eq!(kernel_field("RssAnon:\t    120 kB\n", "RssAnon"), Some(120));
        let machine = Machine::parse(&format!("cpu  {second} 0 {second} {second} {second} 0 0 {second} 0 0\ncpu0 1\n"));
        assert_eq!(machine, Machine { all: 5.0, idle: 1.0, iowait: 1.0, steal: 1.0 });
    }

    #[test]
    fn the_busiest_thread_is_the_one_that_used_most_meanwhile() {
        let usage = |threads: &[(u64, f64)]| Usage { threads: threads.iter().copied().collect(), ..Usage::default() };
        let before = usage(&[(1, 90.0), (2, 1.0)]);
        let after = usage(&[(1, 91.0), (2, 3.0), (3, 0.5)]);
        assert_eq!((after.busiest_since(&before), after.cpu_since(&before)), (2.0, 3.5));
    }

    #[test]
    fn this_process_has_used_something() {
        let usage = Usage::of(std::process::id());
        assert!(!usage.threads.is_empty() && anonymous_memory(std::process::id()) > 0 && Machine::now().all > 0.0, "{usage:?}");
    }
}
