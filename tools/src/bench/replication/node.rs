//! A server of the measurement: a process with a directory and a port of its own.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::super::BenchError;
use super::client::{Client, PATIENCE};
use super::info;
use super::usage::Usage;

/// Another process may take a port before the server does: so many are tried.
const PORTS: u32 = 5;

/// The server; it ends with this value.
#[derive(Debug)]
pub(super) struct Node {
    /// `primary`, `replica 1` …
    pub(super) name: String,
    pub(super) port: u16,
    program: PathBuf,
    options: Vec<String>,
    dir: PathBuf,
    child: Child,
}

impl Node {
    /// Starts a server with its data under `home`, and waits until it answers.
    pub(super) fn start(program: &Path, home: &Path, name: &str, options: &[String]) -> Result<Self, BenchError> {
        let dir = home.join(name.replace(' ', "-"));
        std::fs::create_dir_all(&dir).map_err(|source| BenchError::Write { path: dir.clone(), source })?;
        let mut last = None;
        for _ in 0..PORTS {
            let port = free_port()?;
            let child = spawn(program, &dir, options, port)?;
            let mut node =
                Self { name: name.to_owned(), port, program: program.to_owned(), options: options.to_owned(), dir: dir.clone(), child };
            match node.answers() {
                Ok(()) => return Ok(node),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| BenchError::Node { node: name.to_owned(), reason: "there is no port for it".to_owned() }))
    }

    /// Starts it again on its directory and port, and does not wait.
    pub(super) fn restart(&mut self) -> Result<(), BenchError> {
        self.child = spawn(&self.program, &self.dir, &self.options, self.port)?;
        Ok(())
    }

    fn answers(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.error(&format!("it ended with {status}: {}", self.last_words())));
            }
            let info = Client::connect(self.port, Instant::now()).and_then(|mut client| client.ask(&["INFO", "server"]));
            match info {
                // The one that answers may be another process, if this one could not have the port; then it is about to end.
                Ok(info) if info::number(&info, "process_id") == i64::from(self.child.id()) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.may_pass() && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(log(&self.dir)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("; ")
    }

    pub(super) fn error(&self, reason: &str) -> BenchError {
        BenchError::Node { node: self.name.clone(), reason: reason.to_owned() }
    }

    pub(super) fn connect(&self) -> Result<Client, BenchError> {
        Client::connect(self.port, Instant::now() + PATIENCE)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn usage(&self) -> Usage {
        Usage::of(self.pid())
    }

    /// Ends it as kill -9 does, does something at that moment, and waits until it is gone.
    pub(super) fn kill(&mut self, then: impl FnOnce()) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        then();
        let _ = self.child.wait();
    }

    /// Asks it to end, and waits until it has.
    pub(super) fn terminate(&mut self) -> Result<(), BenchError> {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Err(self.error("it did not end within 30 s of SIGTERM"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill(|| {});
    }
}

fn log(dir: &Path) -> PathBuf {
    dir.with_extension("log")
}

fn spawn(program: &Path, dir: &Path, options: &[String], port: u16) -> Result<Child, BenchError> {
    let path = log(dir);
    let log = File::options().create(true).append(true).open(&path).map_err(|source| BenchError::Write { path, source })?;
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(dir).args(options);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
    child.map_err(|source| BenchError::Node { node: program.display().to_string(), reason: format!("it cannot be started: {source}") })
}

fn free_port() -> Result<u16, BenchError> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    port.map(|address| address.port()).map_err(|source| BenchError::System { what: "find a free port", source })
}
