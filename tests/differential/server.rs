//! Servers that a test starts, and kills when it ends.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub port: u16,
    _dir: tempfile::TempDir,
}

impl Server {
    /// The program under test.
    pub fn esker() -> Self {
        Self::start(Path::new(env!("CARGO_BIN_EXE_esker")), "yes").unwrap()
    }

    /// The program to compare with; None where it is not installed.
    pub fn redis() -> Option<Self> {
        let server = Self::start(Path::new("redis-server"), "no");
        if server.is_none() {
            // Past the test runner, which keeps what a passing test prints to itself.
            let _ = writeln!(std::io::stderr(), "SKIPPED: redis-server is not installed, nothing to compare with");
        }
        server
    }

    fn start(program: &Path, appendonly: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", appendonly, "--appendfsync", "no"])
            .args(["--notify-keyspace-events", "KEA$gmn"])
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self { child, port, _dir: dir };
        server.wait_until_it_listens();
        Some(server)
    }

    fn wait_until_it_listens(&self) {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "the server does not listen on port {}", self.port);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
