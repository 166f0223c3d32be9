//! A connection that asks and waits for the answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
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
    /// No two answers were of one LSN.
    #[error("{address} was never met at an LSN of the primary in {attempts} attempts: try --hold-writes")]
    NeverMet {
        /// The replica.
        address: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The output cannot be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// The longest bulk string and the most parts of an array that are taken.
const MOST: i64 = 64 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Error(String),
    Integer(i64),
    Null,
    Array(Vec<Value>),
}

/// A connection.
pub(super) struct Client {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects; no answer may take longer than `patience`.
    pub(super) fn connect(address: &str, user: Option<&str>, password: Option<&str>, patience: Duration) -> Result<Self, CtlError> {
        let failed = |source| CtlError::Io { address: address.to_owned(), source };
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
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Asks, and demands an answer that is no error.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<Value, CtlError> {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
        let answer = self.stream.get_mut().write_all(request.as_bytes()).and_then(|()| read(&mut self.stream, 0));
        match answer.map_err(|source| CtlError::Io { address: self.address.clone(), source })? {
            Value::Error(reply) => Err(CtlError::Refused { address: self.address.clone(), reply }),
            value => Ok(value),
        }
    }

    /// The error for an answer of the wrong kind.
    pub(super) fn unexpected(&self, value: &Value) -> CtlError {
        let mut what = format!("{value:?}");
        what.truncate((0..=200.min(what.len())).rev().find(|end| what.is_char_boundary(*end)).unwrap_or(0));
        CtlError::Unexpected { address: self.address.clone(), what }
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
    let text = String::from_utf8_lossy(rest).into_owned();
    let number = || text.parse::<i64>().ok().filter(|number| *number <= MOST).ok_or_else(malformed);
    Ok(match kind {
        b'+' => Value::Text(text),
        b'-' => Value::Error(text),
        b':' => Value::Integer(text.parse().map_err(|_| malformed())?),
        b'$' => match usize::try_from(number()?) {
            Err(_) => Value::Null,
            Ok(len) => {
                let mut bytes = Vec::new();
                stream.take(len as u64 + 2).read_to_end(&mut bytes)?;
                let body = bytes.strip_suffix(b"\r\n").filter(|body| body.len() == len).ok_or_else(malformed)?;
                Value::Text(String::from_utf8_lossy(body).into_owned())
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
        let array = Value::Array(vec![Value::Integer(-1), Value::Array(vec![Value::Null, Value::Text("a\r\nb".to_owned())])]);
        assert_eq!(found(b"*2\r\n:-1\r\n*2\r\n$-1\r\n$4\r\na\r\nb\r\n"), Some(array));
        assert_eq!(found(b"-ERR no\r\n"), Some(Value::Error("ERR no".to_owned())));
        for bytes in
            [&b""[..], b"+OK", b"$5\r\nab\r\n", b"HTTP\r\n", b"$x\r\n", b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", b"$99999999999\r\n"]
        {
            assert_eq!(found(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
