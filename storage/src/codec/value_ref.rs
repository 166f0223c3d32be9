//! References from an entry to a value in a value segment.

use super::{DecodeError, Input, Output};

/// Bytes of a value reference.
pub const VALUE_REF_LEN: usize = 16 + 8 + 4;
const _: () = assert!(VALUE_REF_LEN == 28);

/// Names a value segment and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueRef {
    /// Id, and file name, of the value segment.
    pub value_id: u128,
    /// Bytes of the value.
    pub len: u64,
    /// CRC of the whole value under its value seed.
    pub crc: u32,
}

impl ValueRef {
    /// The bytes of the reference.
    #[must_use]
    pub fn encode(&self) -> [u8; VALUE_REF_LEN] {
        let mut bytes = [0; VALUE_REF_LEN];
        let mut output = Output::new(&mut bytes);
        output.put(&self.value_id.to_le_bytes());
        output.put(&self.len.to_le_bytes());
        output.put(&self.crc.to_le_bytes());
        bytes
    }

    /// Decodes the body of a put with `VALUE_SEGMENT`.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.len() != VALUE_REF_LEN {
            return Err(DecodeError::Length);
        }
        let mut input = Input::new(body);
        Ok(Self { value_id: input.u128()?, len: input.u64()?, crc: input.u32()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_round_trips_and_other_lengths_are_refused() {
        let reference = ValueRef { value_id: 1 << 100 | 5, len: 1 << 29, crc: 77 };
        let bytes = reference.encode();
        assert_eq!(ValueRef::decode(&bytes), Ok(reference));
        assert_eq!(ValueRef::decode(&bytes[1..]), Err(DecodeError::Length));
    }
}
