//! Frames: what is around every message.
//!
//! ```text
//! 0          4      5       9
//! ┌──────────┬──────┬───────┬─────────┐
//! │ length   │ kind │ CRC   │ payload │
//! └──────────┴──────┴───────┴─────────┘
//! ```
//!
//! The length is that of all that follows it. The CRC covers kind and payload.

use super::control;
use super::error::WireError;
use super::message::Message;
use super::{bulk, bulk::ENTRIES_HEAD};

/// Bytes before a payload.
pub const FRAME_HEAD: usize = 4 + 1 + 4;
/// Bytes that the length counts beside the payload.
const COUNTED: u32 = 1 + 4;

/// What a frame holds. Kinds below 32 have a protobuf payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is described at its message")]
pub enum FrameKind {
    Hello,
    Welcome,
    Listing,
    Want,
    SnapshotDone,
    Heartbeat,
    Ack,
    Bye,
    TakeOver,
    TookOver,
    Lacking,
    Entries,
    Piece,
    ValuePiece,
}

impl FrameKind {
    const ALL: [(u8, Self); 14] = [
        (1, Self::Hello),
        (2, Self::Welcome),
        (3, Self::Listing),
        (4, Self::Want),
        (5, Self::SnapshotDone),
        (6, Self::Heartbeat),
        (7, Self::Ack),
        (8, Self::Bye),
        (9, Self::TakeOver),
        (10, Self::TookOver),
        (11, Self::Lacking),
        (32, Self::Entries),
        (33, Self::Piece),
        (34, Self::ValuePiece),
    ];

    pub(super) fn to_byte(self) -> u8 {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or(0, |(byte, _)| *byte)
    }

    fn from_byte(byte: u8) -> Result<Self, WireError> {
        Self::ALL.iter().find(|(number, _)| *number == byte).map(|(_, kind)| *kind).ok_or(WireError::Unknown(byte))
    }
}

/// How large payloads may be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Control messages but listings and what a replica lacks.
    pub control: u32,
    /// Those.
    pub listing: u32,
    /// Bulk messages, their heads not counted.
    pub bulk: u32,
    /// One entry alone: at least the segment size of either side.
    pub entry: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { control: 1 << 20, listing: 64 << 20, bulk: 16 << 20, entry: 64 << 20 }
    }
}

impl Limits {
    fn of(&self, kind: FrameKind) -> u32 {
        match kind {
            FrameKind::Listing | FrameKind::Lacking => self.listing,
            FrameKind::Entries => self.bulk.max(self.entry) + ENTRIES_HEAD as u32,
            FrameKind::Piece => self.bulk + bulk::PIECE_HEAD as u32,
            FrameKind::ValuePiece => self.bulk + bulk::VALUE_PIECE_HEAD as u32,
            _ => self.control,
        }
    }
}

/// What stands at the front of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// So many bytes have to be there before anything can be said.
    Incomplete(usize),
    /// A message, and the bytes of its frame.
    Message(Message<'a>, usize),
}

/// Decodes the message at the front of `input`. A frame is refused as soon as its head is there if it is too large or of an unknown kind.
pub fn decode<'a>(input: &'a [u8], limits: &Limits) -> Result<Decoded<'a>, WireError> {
    let Some((head, rest)) = input.split_first_chunk::<FRAME_HEAD>() else { return Ok(Decoded::Incomplete(FRAME_HEAD)) };
    let [a, b, c, d, byte, e, f, g, h] = *head;
    let counted = u32::from_le_bytes([a, b, c, d]);
    let len = counted.checked_sub(COUNTED).ok_or(WireError::Short(counted))?;
    let kind = FrameKind::from_byte(byte)?;
    let most = limits.of(kind);
    if len > most {
        return Err(WireError::TooMuch { what: "bytes of a frame", found: u64::from(len), most: u64::from(most) });
    }
    let Some(payload) = rest.get(..len as usize) else { return Ok(Decoded::Incomplete(FRAME_HEAD + len as usize)) };
    if checksum(kind, &[payload]) != u32::from_le_bytes([e, f, g, h]) {
        return Err(WireError::Checksum(byte));
    }
    let message = match kind {
        FrameKind::Entries => Message::Entries(bulk::entries(payload, u64::from(limits.bulk))?),
        FrameKind::Piece => Message::Piece(bulk::piece(payload)?),
        FrameKind::ValuePiece => Message::ValuePiece(bulk::value_piece(payload)?),
        control => control::decode(control, payload)?,
    };
    Ok(Decoded::Message(message, FRAME_HEAD + len as usize))
}

/// Appends a message to `out`. Bulk messages are better sent as their head and the raw bytes.
pub fn encode(message: &Message<'_>, out: &mut Vec<u8>) {
    let (head, raw) = match message {
        Message::Entries(entries) => (bulk::entries_head(entries), entries.raw),
        Message::Piece(piece) => (bulk::piece_head(piece), piece.raw),
        Message::ValuePiece(piece) => (bulk::value_piece_head(piece), piece.raw),
        control => {
            let (kind, payload) = control::encode(control);
            out.extend_from_slice(&frame_head(kind, payload.len(), checksum(kind, &[&payload])));
            return out.extend_from_slice(&payload);
        }
    };
    out.extend_from_slice(&head);
    out.extend_from_slice(raw);
}

pub(super) fn checksum(kind: FrameKind, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind.to_byte()]);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

pub(super) fn frame_head(kind: FrameKind, payload: usize, crc: u32) -> [u8; FRAME_HEAD] {
    let mut head = [0; FRAME_HEAD];
    // What is too long for the field is far above every limit: the sender keeps to them.
    let counted = u32::try_from(payload).unwrap_or(u32::MAX).saturating_add(COUNTED);
    head[..4].copy_from_slice(&counted.to_le_bytes());
    head[4] = kind.to_byte();
    head[5..].copy_from_slice(&crc.to_le_bytes());
    head
}
