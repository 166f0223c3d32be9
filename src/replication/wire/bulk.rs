//! Bulk messages: a short head of fixed length, then bytes as they stand in files.
//!
//! ```text
//! entries      first LSN (8) │ last LSN (8) │ committed LSN (8)      │ frames of the log
//! piece        snapshot (8)  │ file (4)     │ offset (8)             │ bytes of the file
//! value piece  value id (16) │ length of the file (8) │ offset (8)   │ bytes of the file
//! ```

use esker_storage::types::Lsn;

use super::error::WireError;
use super::frame::{FRAME_HEAD, FrameKind, checksum, frame_head};
use super::message::{Entries, Piece, SnapshotId, ValuePiece};

pub(super) const ENTRIES_HEAD: usize = 24;
pub(super) const PIECE_HEAD: usize = 20;
pub(super) const VALUE_PIECE_HEAD: usize = 32;

/// Joins the frame's head to a message's; `raw` follows it on the wire.
fn bulk_head(kind: FrameKind, fixed: &[u8], raw: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(FRAME_HEAD + fixed.len());
    head.extend_from_slice(&frame_head(kind, fixed.len() + raw.len(), checksum(kind, &[fixed, raw])));
    head.extend_from_slice(fixed);
    head
}

/// What goes before the frames of a run of the log.
#[must_use]
pub fn entries_head(message: &Entries<'_>) -> Vec<u8> {
    let mut fixed = [0; ENTRIES_HEAD];
    fixed[..8].copy_from_slice(&message.first.0.to_le_bytes());
    fixed[8..16].copy_from_slice(&message.last.0.to_le_bytes());
    fixed[16..].copy_from_slice(&message.committed.0.to_le_bytes());
    bulk_head(FrameKind::Entries, &fixed, message.raw)
}

/// What goes before a part of a snapshot's file.
#[must_use]
pub fn piece_head(message: &Piece<'_>) -> Vec<u8> {
    let mut fixed = [0; PIECE_HEAD];
    fixed[..8].copy_from_slice(&message.id.0.to_le_bytes());
    fixed[8..12].copy_from_slice(&message.file.to_le_bytes());
    fixed[12..].copy_from_slice(&message.offset.to_le_bytes());
    bulk_head(FrameKind::Piece, &fixed, message.raw)
}

/// What goes before a part of a value segment.
#[must_use]
pub fn value_piece_head(message: &ValuePiece<'_>) -> Vec<u8> {
    let mut fixed = [0; VALUE_PIECE_HEAD];
    fixed[..16].copy_from_slice(&message.id.to_le_bytes());
    fixed[16..24].copy_from_slice(&message.total.to_le_bytes());
    fixed[24..].copy_from_slice(&message.offset.to_le_bytes());
    bulk_head(FrameKind::ValuePiece, &fixed, message.raw)
}

fn split<const N: usize>(payload: &[u8]) -> Result<(&[u8; N], &[u8]), WireError> {
    payload.split_first_chunk().ok_or(WireError::Malformed("head of a bulk message"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

pub(super) fn entries(payload: &[u8], most: u64) -> Result<Entries<'_>, WireError> {
    let (head, raw) = split::<ENTRIES_HEAD>(payload)?;
    let (first, last, committed) = (u64_at(head, 0), u64_at(head, 8), u64_at(head, 16));
    if first == 0 || last < first || raw.is_empty() {
        return Err(WireError::Malformed("LSNs of a run of entries"));
    }
    // Only one entry alone may be larger than a run of them.
    if first != last && raw.len() as u64 > most {
        return Err(WireError::TooMuch { what: "bytes of a run of entries", found: raw.len() as u64, most });
    }
    Ok(Entries { first: Lsn(first), last: Lsn(last), committed: Lsn(committed), raw })
}

pub(super) fn piece(payload: &[u8]) -> Result<Piece<'_>, WireError> {
    let (head, raw) = split::<PIECE_HEAD>(payload)?;
    let file = head[8..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let offset = u64_at(head, 12);
    end(offset, raw)?;
    Ok(Piece { id: SnapshotId(u64_at(head, 0)), file, offset, raw })
}

pub(super) fn value_piece(payload: &[u8]) -> Result<ValuePiece<'_>, WireError> {
    let (head, raw) = split::<VALUE_PIECE_HEAD>(payload)?;
    let id = head.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
    let (total, offset) = (u64_at(head, 16), u64_at(head, 24));
    if end(offset, raw)? > total {
        return Err(WireError::Malformed("a part beyond the end of its value"));
    }
    Ok(ValuePiece { id, total, offset, raw })
}

/// Where the bytes end in their file. A part holds something, or the other side would wait for the next for ever.
fn end(offset: u64, raw: &[u8]) -> Result<u64, WireError> {
    if raw.is_empty() {
        return Err(WireError::Malformed("an empty part of a file"));
    }
    offset.checked_add(raw.len() as u64).ok_or(WireError::Malformed("offset of a part of a file"))
}
