//! Entries: the atomic units of the log.
//!
//! ```text
//! 0       10      14    22     28    32        32/56
//! ┌───────┬───────┬─────┬──────┬─────┬─────────┬────┬────┬───
//! │ frame │ epoch │ LSN │ time │ ops │ session │ op │ op │ …
//! └───────┴───────┴─────┴──────┴─────┴─────────┴────┴────┴───
//!                               MULTI  SESSION
//! ```
//!
//! Invariants:
//! - An entry without `MULTI` has one op, at offset [`SINGLE_HEADER`]; an op finds its entry either so or by its distance.
//! - Ops are numbered from 0. An entry of a cleaned segment may lack some, but those that are left keep their numbers.
//! - The frame's CRC covers the header and the CRC of every op; those cover the rest. Each byte is hashed once.

use super::frame::{FRAME_START, FrameKind, FrameStart};
use super::{DecodeError, Input};
use crate::types::{EpochNumber, Incarnation, Lsn, NodeId, UnixMillis};

mod encode;
mod rewrite;
mod view;

pub use super::frame::SINGLE_HEADER;
pub use encode::{EntryBuilder, encode_single, single_len};
pub use rewrite::{Fate, merge, rewrite};
pub use view::{EntryView, Ops};

/// Offset of the writer's clock, six bytes.
pub(crate) const TIME_OFFSET: usize = FRAME_START + 4 + 8;
const OP_COUNT_LEN: usize = 4;
const SESSION_LEN: usize = 8 + 8 + 8;

const MULTI: u8 = 1 << 0;
const SESSION: u8 = 1 << 1;

/// What every entry says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHead {
    /// Its LSN.
    pub lsn: Lsn,
    /// The epoch it was written in.
    pub epoch: EpochNumber,
    /// The writer's wall clock.
    pub time: UnixMillis,
}

/// Which request an entry came from, so that a retry is not applied twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The node that took the request.
    pub node: NodeId,
    /// That node's start.
    pub incarnation: Incarnation,
    /// The request's number there.
    pub sequence: u64,
}

/// An entry's header, decoded but not checked against its CRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    /// The frame's CRC.
    pub crc: u32,
    /// Bytes of the entry.
    pub len: u32,
    /// LSN, epoch, time.
    pub head: EntryHead,
    /// Number of ops.
    pub ops: u32,
    /// Whether the ops carry their place.
    pub multi: bool,
    /// Where the entry came from.
    pub session: Option<Session>,
    /// Bytes before the first op.
    pub header_len: u32,
}

impl EntryHeader {
    /// Decodes the header at the front of `bytes`, without checking its CRC.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let start = FrameStart::parse(bytes)?;
        match start.kind {
            FrameKind::Entry => {}
            FrameKind::PackedEntries => return Err(DecodeError::PackedEntries),
            FrameKind::FlushMark | FrameKind::Footer => return Err(DecodeError::FrameKind(start.kind.to_byte())),
        }
        let multi = start.flags & MULTI != 0;
        let with_session = start.flags & SESSION != 0;
        if start.flags & !(MULTI | SESSION) != 0 || (with_session && !multi) {
            return Err(DecodeError::Flags(start.flags));
        }
        let mut input = Input::new(&bytes[FRAME_START..]);
        let epoch = EpochNumber(input.u32()?);
        let lsn = Lsn(input.u64()?);
        // 48 bits always fit.
        let time = UnixMillis(input.u48()? as i64);
        let ops = if multi { input.u32()? } else { 1 };
        let session = if with_session { Some(Session::parse(&mut input)?) } else { None };
        let header_len = (bytes.len() - input.rest().len()) as u32;
        if start.len < header_len {
            return Err(DecodeError::Length);
        }
        Ok(Self { crc: start.crc, len: start.len, head: EntryHead { lsn, epoch, time }, ops, multi, session, header_len })
    }
}

impl Session {
    fn parse(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self { node: NodeId(input.u64()?), incarnation: Incarnation(input.u64()?), sequence: input.u64()? })
    }
}

#[cfg(test)]
mod tests;
