//! Where and of what figures are.

use std::fs::read_to_string;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::super::BenchError;

/// The machine and the versions.
#[derive(Debug)]
pub(super) struct Environment {
    /// Days and seconds since 1970, as people write them.
    pub(super) date: String,
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) memory_gib: f64,
    pub(super) kernel: String,
    /// Processes at work on average in the last minute before the measurement.
    pub(super) load_before: f64,
    pub(super) server: String,
    pub(super) command: String,
}

impl Environment {
    pub(super) fn find(program: &Path) -> Result<Self, BenchError> {
        let failed = |reason: String| BenchError::Node { node: program.display().to_string(), reason };
        let version = Command::new(program).arg("--version").output();
        let version =
            version.map_err(|error| failed(format!("it cannot be started: {error}; --server says where the server's program is")))?;
        let memory = after(&text("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        Ok(Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            processor: after(&text("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory.unwrap_or(0.0) / f64::from(1 << 20),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: text("/proc/loadavg").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
            server: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
            command: command(),
        })
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "date": self.date, "processor": self.processor, "processors": self.processors, "memory_gib": self.memory_gib,
            "kernel": self.kernel, "load_average_before": self.load_before, "server": self.server,
            "esker_bench": env!("CARGO_PKG_VERSION"), "command": self.command,
        })
    }

    /// In a line.
    pub(super) fn line(&self) -> String {
        format!(
            "{}, {} processors, {:.0} GiB, Linux {}; load average before: {:.1}; {}; {}",
            self.processor, self.processors, self.memory_gib, self.kernel, self.load_before, self.server, self.date
        )
    }
}

/// What this program was called with, without where it is.
fn command() -> String {
    let words = std::env::args().skip(1);
    std::iter::once("esker-bench".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

fn text(path: &str) -> String {
    read_to_string(path).unwrap_or_default()
}

/// What follows a name and a colon.
fn after(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_names() {
        assert_eq!(after("a : 1\nmodel name\t: AMD EPYC\n", "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(after("a : 1\n", "model name"), None);
    }

    #[test]
    fn a_server_that_is_not_there_is_told() {
        let error = Environment::find(Path::new("/nowhere/esker")).map(|_| ()).map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("/nowhere/esker") && text.contains("--server")));
    }
}
