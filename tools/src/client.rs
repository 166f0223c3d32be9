//! A connection that asks and waits for the answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::request;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server cannot be reached, or goes away.
    #[error("{address}: {source}")]
    Io {
        /// The server.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// It refuses.
    #[error("{address}: {reply}")]
    Refused {
        /// The server.
        address: String,
        /// Its words.
        reply: String,
    },
    /// It answers something else than expected.
    #[error("{address} answers what was not expected: {what}")]
    Unexpected {
        /// The server.
        address: String,
        /// What it is.
        what: String,
    },
}

/// The longest bulk string and the most parts of an array that are taken.
const MOST: i64 = 512 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(Vec<u8>),
    Error(String),
    Integer(i64),
    Null,
    Array(Vec<Value>),
}

/// A connection.
pub(crate) struct Client {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Value {
    /// The text, as far as it is one.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }
}

impl Client {
    /// Connects; no answer may take longer than `patience`.
    pub(crate) fn connect(address: &str, user: Option<&str>, password: Option<&str>, patience: Duration) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Io { address: address.to_owned(), source };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for found in address.to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&found, patience) {
                Ok(stream) => {
                    let ready = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(patience)));
                    ready.map_err(failed)?;
                    let mut client = Self { address: address.to_owned(), stream: BufReader::new(stream) };
                    if let Some(password) = password {
                        let words: Vec<&str> = ["AUTH"].into_iter().chain(user).chain([password]).collect();
                        client.ask(&words)?;
                    }
                    return Ok(client);
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    /// Its address, as it was given.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks, and demands an answer that is no error.
    pub(crate) fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Value, ClientError> {
        self.send(words)?;
        match self.receive()? {
            Value::Error(reply) => Err(ClientError::Refused { address: self.address.clone(), reply }),
            value => Ok(value),
        }
    }

    /// Sends a request whose answer is received later.
    pub(crate) fn send<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<(), ClientError> {
        let sent = self.stream.get_mut().write_all(&request::encode(words));
        sent.map_err(|source| ClientError::Io { address: self.address.clone(), source })
    }

    /// The next answer; a refusal is one too.
    pub(crate) fn receive(&mut self) -> Result<Value, ClientError> {
        read(&mut self.stream, 0).map_err(|source| ClientError::Io { address: self.address.clone(), source })
    }

    /// The error for an answer of the wrong kind.
    pub(crate) fn unexpected(&self, value: &Value) -> ClientError {
        let mut what = format!("{value:?}");
        what.truncate((0..=200.min(what.len())).rev().find(|end| what.is_char_boundary(*end)).unwrap_or(0));
        ClientError::Unexpected { address: self.address.clone(), what }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what it answers is no reply")
}

fn read(stream: &mut impl BufRead, depth: u32) -> io::Result<Value> {
    let mut line = Vec::new();
    stream.take(1 << 16).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(malformed)?;
    let (kind, rest) = line.split_first().ok_or_else(malformed)?;
    let text = || String::from_utf8_lossy(rest).into_owned();
    let number = || text().parse::<i64>().ok().filter(|number| *number <= MOST).ok_or_else(malformed);
    Ok(match kind {
        b'+' => Value::Text(rest.to_vec()),
        b'-' => Value::Error(text()),
        b':' => Value::Integer(text().parse().map_err(|_| malformed())?),
        b'$' => match usize::try_from(number()?) {
            Err(_) => Value::Null,
            Ok(len) => {
                let mut bytes = Vec::new();
                stream.take(len as u64 + 2).read_to_end(&mut bytes)?;
                if bytes.len() != len + 2 || !bytes.ends_with(b"\r\n") {
                    return Err(malformed());
                }
                bytes.truncate(len);
                Value::Text(bytes)
            }
        },
        b'*' if depth < 4 => match number()? {
            count if count < 0 => Value::Null,
            count => Value::Array((0..count).map(|_| read(stream, depth + 1)).collect::<io::Result<_>>()?),
        },
        _ => return Err(malformed()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_and_what_is_none_is_told() {
        let found = |mut bytes: &[u8]| read(&mut bytes, 0).ok();
        let array = Value::Array(vec![Value::Integer(-1), Value::Array(vec![Value::Null, Value::Text(b"a\r\nb".to_vec())])]);
        assert_eq!(found(b"*2\r\n:-1\r\n*2\r\n$-1\r\n$4\r\na\r\nb\r\n"), Some(array));
        assert_eq!(found(b"-ERR no\r\n"), Some(Value::Error("ERR no".to_owned())));
        for bytes in
            [&b""[..], b"+OK", b"$5\r\nab\r\n", b"HTTP\r\n", b"$x\r\n", b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", b"$99999999999\r\n"]
        {
            assert_eq!(found(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
