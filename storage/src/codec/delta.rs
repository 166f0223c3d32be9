//! Bodies of delta ops: what changed against the record that they point back to.

use smallvec::SmallVec;

use super::{DecodeError, Input, varint};
use crate::types::Lsn;

const KIND_EXPIRY: u8 = 1;
const KIND_WRITE: u8 = 2;

/// Room for every field before the written bytes.
const HEAD_ROOM: usize = 8 + 4 + varint::MAX_LEN_32 + 3 * varint::MAX_LEN_64 + 1;

/// A delta body's bytes before the written bytes.
pub type DeltaHead = SmallVec<[u8; HEAD_ROOM]>;

/// What a delta does to the string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaChange<'a> {
    /// Only the expiry changes; the op states it.
    Expiry,
    /// Bytes are written; what lies between the old end and `offset` is zero.
    Write {
        /// Where in the string.
        offset: u64,
        /// What.
        bytes: &'a [u8],
    },
}

/// A decoded delta body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta<'a> {
    /// LSN of the record that this one is based on.
    pub base_lsn: Lsn,
    /// Op number of that record.
    pub base_op: u32,
    /// Length of the chain to the image: 1 when the base is the image.
    pub depth: u32,
    /// Length of the string that results.
    pub total_len: u64,
    /// Bytes of all deltas since the image, this one included.
    pub chain_bytes: u64,
    /// What changes.
    pub change: DeltaChange<'a>,
}

impl<'a> Delta<'a> {
    /// The body up to the written bytes, which are its rest.
    #[must_use]
    pub fn encode_head(&self) -> DeltaHead {
        let mut head = DeltaHead::new();
        head.extend_from_slice(&self.base_lsn.0.to_le_bytes());
        head.extend_from_slice(&self.base_op.to_le_bytes());
        varint::push(u64::from(self.depth), &mut head);
        varint::push(self.total_len, &mut head);
        varint::push(self.chain_bytes, &mut head);
        match self.change {
            DeltaChange::Expiry => head.push(KIND_EXPIRY),
            DeltaChange::Write { offset, .. } => {
                head.push(KIND_WRITE);
                varint::push(offset, &mut head);
            }
        }
        head
    }

    /// The bytes that follow the head.
    #[must_use]
    pub fn written(&self) -> &'a [u8] {
        match self.change {
            DeltaChange::Expiry => &[],
            DeltaChange::Write { bytes, .. } => bytes,
        }
    }

    /// Decodes a delta op's body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(body);
        let (base_lsn, base_op) = (Lsn(input.u64()?), input.u32()?);
        let (depth, total_len, chain_bytes) = (input.varint32()?, input.varint64()?, input.varint64()?);
        let change = match input.u8()? {
            KIND_EXPIRY if input.is_empty() => DeltaChange::Expiry,
            KIND_EXPIRY => return Err(DecodeError::Length),
            KIND_WRITE => DeltaChange::Write { offset: input.varint64()?, bytes: input.rest() },
            _ => return Err(DecodeError::Field("delta kind")),
        };
        let delta = Self { base_lsn, base_op, depth, total_len, chain_bytes, change };
        delta.validate()?;
        Ok(delta)
    }

    fn validate(&self) -> Result<(), DecodeError> {
        if self.depth == 0 {
            return Err(DecodeError::Field("delta depth"));
        }
        if let DeltaChange::Write { offset, bytes } = self.change {
            let end = offset.checked_add(bytes.len() as u64);
            if end.is_none_or(|end| end > self.total_len) {
                return Err(DecodeError::Field("delta offset"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    fn body(delta: &Delta<'_>) -> Vec<u8> {
        [&delta.encode_head(), delta.written()].concat()
    }

    #[test]
    fn deltas_round_trip() {
        let write = DeltaChange::Write { offset: 300, bytes: b"hello" };
        for change in [DeltaChange::Expiry, write, DeltaChange::Write { offset: 0, bytes: b"" }] {
            let delta = Delta { base_lsn: Lsn(u64::MAX), base_op: 7, depth: 31, total_len: 305, chain_bytes: 1 << 40, change };
            assert_eq!(Delta::decode(&body(&delta)), Ok(delta));
        }
    }

    #[test]
    fn impossible_deltas_are_refused() {
        let write = DeltaChange::Write { offset: 301, bytes: b"hello" };
        let delta = Delta { base_lsn: Lsn(1), base_op: 0, depth: 1, total_len: 305, chain_bytes: 5, change: write };
        assert_eq!(Delta::decode(&body(&delta)), Err(DecodeError::Field("delta offset")));
        let overflow = Delta { change: DeltaChange::Write { offset: u64::MAX, bytes: b"x" }, ..delta };
        assert_eq!(Delta::decode(&body(&overflow)), Err(DecodeError::Field("delta offset")));
        let shallow = Delta { depth: 0, change: DeltaChange::Expiry, ..delta };
        assert_eq!(Delta::decode(&body(&shallow)), Err(DecodeError::Field("delta depth")));
        let expiry = body(&Delta { change: DeltaChange::Expiry, ..delta });
        assert_eq!(Delta::decode(&[&expiry[..], b"x"].concat()), Err(DecodeError::Length));
        for cut in 0..expiry.len() {
            assert!(Delta::decode(&expiry[..cut]).is_err());
        }
        let mut unknown = expiry;
        *unknown.last_mut().unwrap() = 3;
        assert_eq!(Delta::decode(&unknown), Err(DecodeError::Field("delta kind")));
    }
}
