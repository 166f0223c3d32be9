//! A client's connection: set up while it blocks, used without.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use super::BenchError;
use super::reply::{Reply, parse};
use super::request::Pending;

const BUFFER: usize = 64 << 10;

/// Where to connect and as whom.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: u32,
    /// How long anything may take while a connection is set up.
    pub(super) patience: Duration,
}

impl Target {
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Connects, and demands that the server serves this client.
    pub(super) fn connect(&self) -> Result<TcpStream, BenchError> {
        let stream = self.dial().map_err(|source| BenchError::Connect { address: self.address(), source })?;
        self.set_up(&stream)?;
        let ready = stream.set_nonblocking(true).and_then(|()| stream.set_read_timeout(None));
        ready.map_err(|source| BenchError::System { what: "prepare a socket", source })?;
        Ok(stream)
    }

    /// Connects, waiting until `deadline` for a server that is on its way up.
    pub(super) fn connect_until(&self, deadline: Instant) -> Result<TcpStream, BenchError> {
        loop {
            match self.connect() {
                Err(error) if error.may_pass() && Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
                done => return done,
            }
        }
    }

    fn dial(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.patience) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(self.patience))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn set_up(&self, stream: &TcpStream) -> Result<(), BenchError> {
        if let Some(password) = &self.password {
            let words: Vec<&str> = ["AUTH"].into_iter().chain(self.user.as_deref()).chain([password.as_str()]).collect();
            self.demand(stream, &words, "the password")?;
        }
        if self.db > 0 {
            self.demand(stream, &["SELECT", &self.db.to_string()], "the database")?;
        }
        self.demand(stream, &["PING"], "a PING")
    }

    fn demand(&self, mut stream: &TcpStream, words: &[&str], what: &'static str) -> Result<(), BenchError> {
        let address = self.address();
        let broken = |source| BenchError::Setup { address: address.clone(), source };
        stream.write_all(&crate::request::encode(words)).map_err(broken)?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 512]);
        loop {
            let reply = parse(&bytes).map_err(|_| BenchError::Protocol { address: address.clone(), reason: preview(&bytes) })?;
            match reply {
                Some((Reply::Error(text), _)) => {
                    let reply = String::from_utf8_lossy(text).into_owned();
                    let loading = text.starts_with(b"LOADING");
                    return Err(if loading {
                        BenchError::Loading { address, reply }
                    } else {
                        BenchError::Refused { address, what, reply }
                    });
                }
                Some(_) => return Ok(()),
                None => {}
            }
            let read = stream.read(&mut buffer).map_err(broken)?;
            if read == 0 {
                return Err(broken(io::ErrorKind::UnexpectedEof.into()));
            }
            bytes.extend_from_slice(&buffer[..read]);
        }
    }
}

pub(super) fn preview(bytes: &[u8]) -> String {
    format!("it answered \"{}\"", bytes[..bytes.len().min(60)].escape_ascii())
}

/// A client.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) stream: Option<TcpStream>,
    pub(super) out: Vec<u8>,
    written: usize,
    pub(super) input: Vec<u8>,
    /// What of `input` is filled and not yet taken.
    pub(super) filled: std::ops::Range<usize>,
    pub(super) pending: VecDeque<Pending>,
    /// Whether we wait until the socket takes more.
    pub(super) blocked: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: Some(stream), input: vec![0; BUFFER], ..Self::default() }
    }

    /// Starts again on a new socket.
    pub(super) fn restart(&mut self, stream: TcpStream) {
        *self = Self { input: std::mem::take(&mut self.input), ..Self::new(stream) };
        self.input.resize(self.input.len().max(BUFFER), 0);
    }

    /// Writes as much as the socket takes; how much it was.
    pub(super) fn send(&mut self) -> io::Result<usize> {
        let Some(mut stream) = self.stream.as_ref() else { return Ok(0) };
        let before = self.written;
        while self.written < self.out.len() {
            match stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => self.written += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let sent = self.written - before;
        self.blocked = self.written < self.out.len();
        if !self.blocked {
            self.out.clear();
            self.written = 0;
        }
        Ok(sent)
    }

    /// Reads once; how much it was, or none if there is nothing yet.
    pub(super) fn receive(&mut self) -> io::Result<Option<usize>> {
        let Some(mut stream) = self.stream.as_ref() else { return Ok(None) };
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.filled.end == self.input.len() {
            // A reply longer than the buffer gets one of twice its size, and the rest moves to the front.
            self.input.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
            if self.filled.len() * 2 > self.input.len() {
                self.input.resize(self.input.len() * 2, 0);
            }
        }
        loop {
            match stream.read(&mut self.input[self.filled.end..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    self.filled.end += len;
                    return Ok(Some(len));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
