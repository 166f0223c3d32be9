//! Writing entries: one op straight into place, or several gathered first and sealed when the LSN is known.

use super::{EntryHead, MULTI, OP_COUNT_LEN, SESSION, SESSION_LEN, SINGLE_HEADER, Session};
use crate::codec::checksum::{ShardSeed, crc};
use crate::codec::frame::{FrameKind, FrameStart, LENGTH_OFFSET};
use crate::codec::op::{Op, OpPlace, seal};
use crate::codec::{Output, set_u32};

/// Bytes of the entry that holds `op` alone.
#[inline]
#[must_use]
pub fn single_len(op: &Op<'_>) -> usize {
    SINGLE_HEADER + op.encoded_len(false)
}

/// Writes the entry that holds `op` alone into `out`, of exactly [`single_len`] bytes. The op begins at [`SINGLE_HEADER`].
#[inline]
pub fn encode_single(out: &mut [u8], head: EntryHead, seed: ShardSeed, op: &Op<'_>) {
    let lsn_seed = seed.lsn(head.lsn);
    put_head(out, 0, head);
    let body = &mut out[SINGLE_HEADER..];
    op.encode(None, body);
    seal(body, lsn_seed.op(0));
    // The op's CRC lies right behind the header: one pass covers both.
    let crc = lsn_seed.crc(&out[LENGTH_OFFSET..SINGLE_HEADER + 4]);
    set_u32(out, 0, crc);
}

/// Writes the 28 bytes that all entries begin with, but for the CRC.
#[inline]
fn put_head(out: &mut [u8], flags: u8, head: EntryHead) {
    let len = u32::try_from(out.len()).expect("an entry fits in a segment");
    let mut output = Output::new(out);
    output.put(&FrameStart::encode(FrameKind::Entry, flags, len));
    output.put(&head.epoch.0.to_le_bytes());
    output.put(&head.lsn.0.to_le_bytes());
    output.put(&head.time.0.to_le_bytes()[..6]);
}

/// Gathers the ops of an entry before its LSN is known.
#[derive(Debug, Default)]
pub struct EntryBuilder {
    session: Option<Session>,
    /// The ops as they will lie in the log, their CRCs still 0.
    ops: Vec<u8>,
    /// Where each op begins in `ops`.
    starts: Vec<usize>,
}

impl EntryBuilder {
    /// Starts an entry that came from `session`, or from nowhere in particular.
    #[must_use]
    pub fn new(session: Option<Session>) -> Self {
        Self { session, ..Self::default() }
    }

    /// Adds an op and returns its distance in bytes from the start of the entry.
    pub fn push(&mut self, op: &Op<'_>) -> u32 {
        let start = self.ops.len();
        let distance = u32::try_from(self.header_len() + start).expect("an entry fits in a segment");
        let number = u32::try_from(self.starts.len()).expect("ops take bytes, and an entry fits in a segment");
        self.ops.resize(start + op.encoded_len(true), 0);
        op.encode(Some(OpPlace { distance, number }), &mut self.ops[start..]);
        self.starts.push(start);
        distance
    }

    /// Whether no op was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Number of ops added.
    #[must_use]
    pub fn op_count(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of the entry so far.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.header_len() + self.ops.len()
    }

    /// Forgets the ops, keeps the memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.starts.clear();
    }

    fn header_len(&self) -> usize {
        SINGLE_HEADER + OP_COUNT_LEN + if self.session.is_some() { SESSION_LEN } else { 0 }
    }

    /// Writes the entry into `out`, of exactly [`encoded_len`](Self::encoded_len) bytes.
    pub fn finish(&self, head: EntryHead, seed: ShardSeed, out: &mut [u8]) {
        let flags = if self.session.is_some() { MULTI | SESSION } else { MULTI };
        put_head(out, flags, head);
        let header_len = self.header_len();
        let (header, ops) = out.split_at_mut(header_len);
        self.put_rest_of_header(&mut header[SINGLE_HEADER..]);
        ops.copy_from_slice(&self.ops);

        let lsn_seed = seed.lsn(head.lsn);
        let mut frame_crc = lsn_seed.crc(&header[LENGTH_OFFSET..]);
        let ends = self.starts.iter().skip(1).copied().chain([self.ops.len()]);
        for ((&start, end), number) in self.starts.iter().zip(ends).zip(0..) {
            let op_crc = seal(&mut ops[start..end], lsn_seed.op(number));
            frame_crc = crc(frame_crc, &op_crc.to_le_bytes());
        }
        set_u32(out, 0, frame_crc);
    }

    fn put_rest_of_header(&self, to: &mut [u8]) {
        let mut output = Output::new(to);
        output.put(&(self.starts.len() as u32).to_le_bytes());
        if let Some(session) = self.session {
            output.put(&session.node.0.to_le_bytes());
            output.put(&session.incarnation.0.to_le_bytes());
            output.put(&session.sequence.to_le_bytes());
        }
    }
}
