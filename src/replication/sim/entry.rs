//! The model's log: entries of a fixed length.

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// The first entry of an epoch.
    Start,
    /// A key holds a value, which no other write has.
    Put { key: u8, value: u64 },
    /// A key holds nothing.
    Delete { key: u8, value: u64 },
}

/// An entry, told apart from all others by place, epoch and writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    pub lsn: u64,
    pub epoch: u32,
    pub writer: u64,
    pub op: Op,
}

/// Keys are in so many stripes, by their remainder.
pub const STRIPES: u8 = 4;

/// Bytes of an entry.
pub const ENTRY: usize = 8 + 4 + 8 + 1 + 1 + 8;

impl Entry {
    pub fn key(&self) -> Option<u8> {
        match self.op {
            Op::Start => None,
            Op::Put { key, .. } | Op::Delete { key, .. } => Some(key),
        }
    }

    /// Whether it deletes a key of a stripe.
    pub fn deletes_in(&self, stripe: u8) -> bool {
        matches!(self.op, Op::Delete { key, .. } if key % STRIPES == stripe)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.lsn.to_le_bytes());
        out.extend(self.epoch.to_le_bytes());
        out.extend(self.writer.to_le_bytes());
        let (code, key, value) = match self.op {
            Op::Start => (0, 0, 0),
            Op::Put { key, value } => (1, key, value),
            Op::Delete { key, value } => (2, key, value),
        };
        out.extend([code, key]);
        out.extend(value.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let (key, value) = (bytes[21], number(22));
        let op = match bytes[20] {
            0 => Op::Start,
            1 => Op::Put { key, value },
            2 => Op::Delete { key, value },
            other => panic!("op {other}"),
        };
        Self { lsn: number(0), epoch: u32::from_le_bytes(bytes[8..12].try_into().unwrap()), writer: number(12), op }
    }

    pub fn decode_all(bytes: &[u8]) -> Vec<Self> {
        assert_eq!(bytes.len() % ENTRY, 0, "a part of an entry");
        bytes.chunks(ENTRY).map(Self::decode).collect()
    }
}
