//! Flush marks: a node's notes on how far its log was on the medium.

use super::checksum::ShardSeed;
use super::frame::{FRAME_START, FrameKind, FrameStart, LENGTH_OFFSET};
use super::{DecodeError, Input, set_u32};
use crate::types::{Incarnation, Lsn, NodeId};

/// Bytes of a flush mark.
pub const FLUSH_MARK_LEN: usize = FRAME_START + 8 + 8 + 8;
const _: () = assert!(FLUSH_MARK_LEN == 34);

/// Everything up to `flushed` was on this node's medium when the mark was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushMark {
    /// The node whose medium it was.
    pub node: NodeId,
    /// The start of that node.
    pub incarnation: Incarnation,
    /// The highest LSN flushed.
    pub flushed: Lsn,
}

impl FlushMark {
    /// The mark's frame.
    #[must_use]
    pub fn encode(&self, seed: ShardSeed) -> [u8; FLUSH_MARK_LEN] {
        let mut bytes = [0; FLUSH_MARK_LEN];
        bytes[..FRAME_START].copy_from_slice(&FrameStart::encode(FrameKind::FlushMark, 0, FLUSH_MARK_LEN as u32));
        for (number, field) in [self.node.0, self.incarnation.0, self.flushed.0].into_iter().enumerate() {
            let at = FRAME_START + 8 * number;
            bytes[at..at + 8].copy_from_slice(&field.to_le_bytes());
        }
        let crc = seed.crc(&bytes[LENGTH_OFFSET..]);
        set_u32(&mut bytes, 0, crc);
        bytes
    }

    /// Checks and decodes the frame at the front of `bytes`.
    pub fn parse(bytes: &[u8], seed: ShardSeed) -> Result<Self, DecodeError> {
        let start = FrameStart::parse(bytes)?;
        if start.kind != FrameKind::FlushMark {
            return Err(DecodeError::FrameKind(start.kind.to_byte()));
        }
        if start.len as usize != FLUSH_MARK_LEN {
            return Err(DecodeError::Length);
        }
        let frame = bytes.get(..FLUSH_MARK_LEN).ok_or(DecodeError::CutOff)?;
        if seed.crc(&frame[LENGTH_OFFSET..]) != start.crc {
            return Err(DecodeError::Checksum);
        }
        if start.flags != 0 {
            return Err(DecodeError::Flags(start.flags));
        }
        let mut input = Input::new(&frame[FRAME_START..]);
        Ok(Self { node: NodeId(input.u64()?), incarnation: Incarnation(input.u64()?), flushed: Lsn(input.u64()?) })
    }
}
