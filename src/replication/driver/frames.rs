//! Frames on a socket: both directions on one task, so that neither waits for the other.

use std::io::{self, IoSlice};

use tokio::net::TcpStream;

use crate::replication::wire::{Decoded, FRAME_HEAD, Limits, Message, WireError, decode};

/// Bytes read ahead while something is being sent.
const AHEAD: usize = 4 << 20;
/// Bytes asked for in one read.
const READ: usize = 256 << 10;

/// A peer's connection.
pub(super) struct Frames {
    stream: TcpStream,
    /// What has been read; the bytes before `consumed` are of messages that were taken.
    input: Vec<u8>,
    consumed: usize,
    limits: Limits,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the other side closed the connection")]
    Closed,
    #[error("what came in is no message: {0}")]
    Wire(#[from] WireError),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Storage(#[from] esker_storage::error::StorageError),
}

impl LinkError {
    /// Whether there was no room on the disk.
    pub(super) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_disk_full())
    }
}

impl Frames {
    /// A connection on which `input` was read already.
    pub(super) fn new(stream: TcpStream, input: Vec<u8>, limits: Limits) -> Self {
        Self { stream, input, consumed: 0, limits }
    }

    /// Reads until there is a whole message. May be dropped before it is done: nothing is lost.
    pub(super) async fn arrived(&mut self) -> Result<(), LinkError> {
        while let Some(missing) = self.missing()? {
            self.stream.readable().await?;
            self.read(missing)?;
        }
        Ok(())
    }

    /// How many bytes a whole message still lacks; none: there is one.
    fn missing(&self) -> Result<Option<usize>, LinkError> {
        let rest = &self.input[self.consumed..];
        Ok(match decode_len(rest, &self.limits)? {
            Some(len) if len <= rest.len() => None,
            Some(len) => Some(len - rest.len()),
            None => Some(FRAME_HEAD - rest.len()),
        })
    }

    /// Reads what the socket has; false if it has nothing.
    fn read(&mut self, missing: usize) -> Result<bool, LinkError> {
        if self.consumed > 0 {
            self.input.drain(..self.consumed);
            self.consumed = 0;
        }
        // What was announced gets memory as it comes.
        self.input.reserve(missing.min(self.input.len()).max(READ));
        match self.stream.try_read_buf(&mut self.input) {
            Ok(0) => Err(LinkError::Closed),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what has arrived: whole messages, one after the other, by [`next`].
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.input.drain(..self.consumed);
        self.consumed = 0;
        std::mem::take(&mut self.input)
    }

    /// Gives back what was taken, without the first `used` bytes.
    pub(super) fn give_back(&mut self, mut taken: Vec<u8>, used: usize) {
        // Read meanwhile, while something was sent.
        taken.append(&mut self.input);
        (self.input, self.consumed) = (taken, used);
    }

    /// The message at the front of what was taken, and its length.
    pub(super) fn next<'a>(&self, taken: &'a [u8]) -> Result<Option<(Message<'a>, usize)>, LinkError> {
        Ok(match decode(taken, &self.limits)? {
            Decoded::Message(message, len) => Some((message, len)),
            Decoded::Incomplete(_) => None,
        })
    }

    /// Sends all of these bytes, reading meanwhile.
    pub(super) async fn send(&mut self, head: &[u8], raw: &[u8]) -> Result<(), LinkError> {
        let (mut sent, total) = (0, head.len() + raw.len());
        while sent < total {
            let parts = [IoSlice::new(&head[sent.min(head.len())..]), IoSlice::new(&raw[sent.saturating_sub(head.len())..])];
            match self.stream.try_write_vectored(&parts) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_to_send().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn wait_to_send(&mut self) -> Result<(), LinkError> {
        if self.input.len() - self.consumed >= AHEAD {
            return Ok(self.stream.writable().await?);
        }
        tokio::select! {
            ready = self.stream.writable() => ready?,
            ready = self.stream.readable() => {
                ready?;
                self.read(READ)?;
            }
        }
        Ok(())
    }
}

/// The length of the frame that begins here, as soon as its head is there.
fn decode_len(bytes: &[u8], limits: &Limits) -> Result<Option<usize>, WireError> {
    match decode(&bytes[..bytes.len().min(FRAME_HEAD)], limits)? {
        Decoded::Incomplete(len) if bytes.len() >= FRAME_HEAD => Ok(Some(len)),
        Decoded::Incomplete(_) => Ok(None),
        Decoded::Message(_, len) => Ok(Some(len)),
    }
}
