//! Anonymous memory does not follow the number of keys: keys are in the index and the log, which are files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fmt::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::Server;

/// More than a segment of 64 MiB holds.
const KEYS: usize = 600_000;
const BATCH: usize = 500;
/// What else grows: buffers of connections, threads that ran for the first time.
const BUFFERS: u64 = 1 << 20;

fn figure(server: &Server, section: &str, field: &str) -> u64 {
    let info = server.connect().ask(&format!("INFO {section}"));
    let value = info.split('|').find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {field} in {info}"))
}

fn anonymous(server: &Server) -> u64 {
    figure(server, "memory", "mem_anonymous_bytes")
}

fn fill(server: &Server) {
    let mut connection = server.connect();
    for first in (0..KEYS).step_by(BATCH) {
        let mut requests = String::new();
        for key in first..first + BATCH {
            write!(requests, "*3\r\n$3\r\nSET\r\n$10\r\nk{key:09}\r\n$60\r\n{key:060}\r\n").unwrap();
        }
        connection.send_raw(requests.as_bytes());
        assert_eq!(connection.read_exact(5 * BATCH), b"+OK\r\n".repeat(BATCH));
    }
}

/// For some seconds, in which segments are sealed or read.
fn stays_small(server: &Server, empty: u64, when: &str) {
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        let grown = anonymous(server).saturating_sub(empty);
        assert!(grown <= KEYS as u64 + BUFFERS, "{grown} bytes more {when}");
        sleep(Duration::from_millis(100));
    }
}

/// Was: the hints of a footer were gathered in memory, 16 MB that the allocator kept, and read into it again at the next start.
#[test]
fn sealing_and_reading_segments_takes_no_memory() {
    let mut server = Server::start();
    let empty = anonymous(&server);
    fill(&server);
    assert!(figure(&server, "persistence", "log_segments") > 1, "nothing was sealed");
    stays_small(&server, empty, "after a fill");
    server.kill();
    server.restart();
    stays_small(&server, empty, "after a restart");
}
