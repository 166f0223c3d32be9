//! What the black-box tests share: the real program on a port and a directory of its own, and connections that show raw replies.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running server.
pub struct Server {
    program: &'static str,
    child: Child,
    port: u16,
    options: Vec<String>,
    dir: tempfile::TempDir,
}

impl Server {
    /// Starts a server on default options.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with these words on its command line.
    pub fn with(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let (child, port) = spawn(ESKER, dir.path(), &options).unwrap();
        Self { program: ESKER, child, port, options, dir }
    }

    /// Starts a redis-server; none where it is not installed.
    pub fn redis() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = vec!["--save".to_owned(), String::new()];
        let (child, port) = spawn("redis-server", dir.path(), &options)?;
        Some(Self { program: "redis-server", child, port, options, dir })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends it as kill -9 does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end with SIGTERM and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.wait()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again after [`Server::kill`], on the same directory.
    pub fn restart(&mut self) {
        (self.child, self.port) = spawn(self.program, self.dir.path(), &self.options).unwrap();
    }

    /// Starts it again after [`Server::kill`], on the same directory and port, which the clients of before still know.
    pub fn restart_in_place(&mut self) {
        self.child = command(self.program, self.dir.path(), &self.options, self.port).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline && self.child.try_wait().unwrap().is_none(), "the server does not start again");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again after [`Server::kill`] and kills it before it is waited for.
    pub fn start_and_kill(&self, after: Duration) {
        let mut child = command(self.program, self.dir.path(), &self.options, self.port).spawn().unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// A new connection.
    pub fn connect(&self) -> Connection {
        Connection::to(self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(program: &str, dir: &Path, options: &[String], port: u16) -> Command {
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(dir).args(options).stdout(Stdio::null());
    command
}

/// The program under test.
const ESKER: &str = env!("CARGO_BIN_EXE_esker");

/// A port that is free and that no other test of this process was given: two that got the same one talked to one server, which the first
/// of them ended.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// Starts a program on a free port; none if it is not installed. Another process may take the port in between: then another one is tried.
fn spawn(program: &str, dir: &Path, options: &[String]) -> Option<(Child, u16)> {
    for _ in 0..5 {
        let port = free_port();
        let mut child = command(program, dir, options, port).spawn().ok()?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if listens(child.id(), port) {
                return Some((child, port));
            }
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("the server does not start");
}

/// Whether a process listens on a port. That somebody answers there is not enough: it may be another process, which was quicker.
fn listens(pid: u32, port: u16) -> bool {
    let sockets = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let address = format!("0100007F:{port:04X}");
    // Local address, remote address, state (0A: listens), six more, inode.
    let listening = sockets.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let listening = listening.filter(|fields| fields.get(1) == Some(&&*address) && fields.get(3) == Some(&"0A"));
    let sockets: Vec<String> = listening.filter_map(|fields| Some(format!("socket:[{}]", fields.get(9)?))).collect();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut files = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    files.any(|file| sockets.iter().any(|socket| file.as_os_str() == &**socket))
}

/// A connection that shows replies as they are on the wire, with `|` for each line break.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to a port of this machine.
    pub fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// A second handle of the same socket, to write from another thread.
    pub fn another_handle(&self) -> TcpStream {
        self.stream.get_ref().try_clone().unwrap()
    }

    /// The next `len` bytes as they came.
    pub fn read_exact(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends a request of these arguments.
    pub fn send(&mut self, args: &[&[u8]]) {
        self.try_send(args).unwrap();
    }

    /// The same, unless the server is gone.
    pub fn try_send(&mut self, args: &[&[u8]]) -> std::io::Result<()> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request)
    }

    /// Sends a request given as words and returns its reply.
    pub fn ask(&mut self, line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.send(&args);
        self.reply()
    }

    /// The value of a field of a section of INFO, if it is there.
    pub fn info(&mut self, section: &str, field: &str) -> Option<String> {
        let text = self.ask(&format!("INFO {section}"));
        text.split('|').find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(str::to_owned)
    }

    /// The next reply or push.
    pub fn reply(&mut self) -> String {
        self.try_reply().unwrap()
    }

    /// Sends words; the reply, unless the server is gone.
    pub fn try_ask(&mut self, line: &str) -> std::io::Result<String> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.try_reply()
    }

    /// The next reply or push, unless the server is gone.
    pub fn try_reply(&mut self) -> std::io::Result<String> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).replace("\r\n", "|"))
    }

    /// The next reply, a bulk string or null.
    pub fn bulk(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"$"), "no bulk string: {}", String::from_utf8_lossy(&bytes));
        let head = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        (!bytes.starts_with(b"$-1")).then(|| bytes[head..bytes.len() - 2].to_vec())
    }

    /// The bulk strings of the next reply, an array; nulls are left out.
    pub fn bulks(&mut self) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes).unwrap();
        let line = |at: usize| at + bytes[at..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let mut at = line(0);
        let mut found = Vec::new();
        while at < bytes.len() {
            let body = line(at);
            let len: i64 = std::str::from_utf8(&bytes[at + 1..body - 2]).unwrap().parse().unwrap();
            at = body;
            if len >= 0 {
                found.push(bytes[body..body + len as usize].to_vec());
                at = body + len as usize + 2;
            }
        }
        found
    }

    /// Whether the server has closed the connection; whatever still comes is dropped.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).is_ok() || !matches!(self.stream.get_ref().take_error(), Ok(None))
    }

    fn read_into(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let start = out.len();
        if self.stream.read_until(b'\n', out)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let number = || String::from_utf8_lossy(&out[start + 1..]).trim().parse::<i64>().unwrap_or(-1);
        match out[start] {
            b'$' | b'=' if number() >= 0 => {
                let end = out.len() + number() as usize + 2;
                let body = out.len();
                out.resize(end, 0);
                self.stream.read_exact(&mut out[body..])?;
            }
            b'*' | b'~' | b'>' => (0..number().max(0)).try_for_each(|_| self.read_into(out))?,
            b'%' => (0..number().max(0) * 2).try_for_each(|_| self.read_into(out))?,
            _ => {}
        }
        Ok(())
    }
}
