//! A connection that asks one thing at a time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::super::BenchError;
use super::super::connection::{Target, preview};
use super::super::reply::{Reply, parse};

/// How long a server may take for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Where a node of this measurement listens.
pub(super) fn target(port: u16) -> Target {
    Target { host: "127.0.0.1".to_owned(), port, user: None, password: None, db: 0, patience: PATIENCE }
}

/// The connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    address: String,
}

impl Client {
    /// Connects to a server, which may be on its way up.
    pub(super) fn connect(port: u16, deadline: Instant) -> Result<Self, BenchError> {
        let target = target(port);
        let stream = target.connect_until(deadline)?;
        let ready = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
        ready.map_err(|source| BenchError::System { what: "prepare a socket", source })?;
        Ok(Self { stream, address: target.address() })
    }

    /// The reply to a request, if it is a text or a number; an error reply is an error.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<String, BenchError> {
        let broken = |address: &str, source| BenchError::Broken { address: address.to_owned(), source };
        self.stream.write_all(&crate::request::encode(words)).map_err(|source| broken(&self.address, source))?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let malformed = |bytes: &[u8]| BenchError::Protocol { address: self.address.clone(), reason: preview(bytes) };
            match parse(&bytes).map_err(|_| malformed(&bytes))? {
                Some((Reply::Error(text), _)) => {
                    let reply = String::from_utf8_lossy(text).into_owned();
                    return Err(BenchError::Node {
                        node: self.address.clone(),
                        reason: format!("{} was answered with {reply}", words.join(" ")),
                    });
                }
                Some((Reply::Simple(text) | Reply::Bulk(text), _)) => return Ok(String::from_utf8_lossy(text).into_owned()),
                Some((Reply::Integer(number), _)) => return Ok(number.to_string()),
                Some(_) => return Err(malformed(&bytes)),
                None => {}
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(broken(&self.address, std::io::ErrorKind::UnexpectedEof.into())),
                Ok(len) => bytes.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(broken(&self.address, source)),
            }
        }
    }
}
