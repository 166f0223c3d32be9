//! One connection that sends GETs and SETs many at once.

use std::io;
use std::net::TcpStream;

use rustix::event::{PollFd, PollFlags, poll};

use super::super::BenchError;
use super::super::connection::{Connection, preview};
use super::super::keys::Names;
use super::super::reply::{Reply, parse};
use super::super::request::{get, set};
use super::super::value::{Fault, Values};

/// What a request is, until its reply is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Get(u32),
    Set(u32),
}

/// What a reply says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Hit,
    Miss,
    Stored,
    /// An error reply.
    Refused(String),
    /// A value that is not the key's, or a reply that no such request has.
    Wrong(String),
}

/// Requests are made first, and then answered all together.
#[derive(Debug)]
pub(super) struct Client {
    address: String,
    connection: Connection,
    names: Names,
    values: Values,
    value_bytes: usize,
    version: u64,
    asked: Vec<Asked>,
}

impl Client {
    pub(super) fn new(stream: TcpStream, address: String, names: Names, values: Values, value_bytes: usize) -> Self {
        Self { address, connection: Connection::new(stream), names, values, value_bytes, version: 0, asked: Vec::new() }
    }

    pub(super) fn get(&mut self, key: u32) {
        get(&self.names, key.into(), &mut self.connection.out);
        self.asked.push(Asked::Get(key));
    }

    pub(super) fn set(&mut self, key: u32) {
        self.version += 1;
        set(&self.names, &self.values, (key.into(), self.version), self.value_bytes, None, &mut self.connection.out);
        self.asked.push(Asked::Set(key));
    }

    /// Sends all requests, and hands over each with its answer, in order.
    pub(super) fn exchange(&mut self, mut each: impl FnMut(Asked, Answer)) -> Result<(), BenchError> {
        let asked = std::mem::take(&mut self.asked);
        let mut answered = 0;
        while answered < asked.len() {
            self.connection.send().map_err(|source| self.broken(source))?;
            // The server may stop reading until its replies are read: both directions go on by turns.
            self.wait().map_err(|source| self.broken(source))?;
            self.connection.receive().map_err(|source| self.broken(source))?;
            while answered < asked.len()
                && let Some(answer) = self.answer(asked[answered])?
            {
                each(asked[answered], answer);
                answered += 1;
            }
        }
        self.asked = asked;
        self.asked.clear();
        Ok(())
    }

    /// The next reply, if it is there.
    fn answer(&mut self, asked: Asked) -> Result<Option<Answer>, BenchError> {
        let bytes = &self.connection.input[self.connection.filled.clone()];
        let malformed = |_| BenchError::Protocol { address: self.address.clone(), reason: preview(bytes) };
        let Some((reply, len)) = parse(bytes).map_err(malformed)? else { return Ok(None) };
        let answer = match (asked, reply) {
            (_, Reply::Error(text)) => Answer::Refused(String::from_utf8_lossy(text).into_owned()),
            (Asked::Get(_), Reply::Null) => Answer::Miss,
            (Asked::Get(key), Reply::Bulk(value)) => match self.values.check(key.into(), value) {
                Ok(_) => Answer::Hit,
                Err(Fault::OtherKey(other)) => Answer::Wrong(format!("key {key} returned a value of key {other}")),
                Err(Fault::Corrupt) => Answer::Wrong(format!("key {key} returned a value that was never written")),
            },
            (Asked::Set(_), Reply::Simple(b"OK")) => Answer::Stored,
            _ => Answer::Wrong(format!("{asked:?} was answered with \"{}\"", bytes[..len.min(60)].escape_ascii())),
        };
        self.connection.filled.start += len;
        Ok(Some(answer))
    }

    fn wait(&self) -> io::Result<()> {
        let Some(stream) = &self.connection.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        let wanted = if self.connection.blocked { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        match poll(&mut [PollFd::new(stream, wanted)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn broken(&self, source: io::Error) -> BenchError {
        BenchError::Broken { address: self.address.clone(), source }
    }
}
