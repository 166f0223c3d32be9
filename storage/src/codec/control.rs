//! Bodies of control ops: those that belong to no key.

use super::{DecodeError, Input, Output};
use crate::types::{DATABASES, Db, Incarnation, NodeId, TableId, UnixMillis, WriterId};

/// One database of a flush: its table is replaced by a new, empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushedTable {
    /// The database.
    pub db: Db,
    /// The table it had.
    pub old: TableId,
    /// The table it has from now on.
    pub new: TableId,
}

impl FlushedTable {
    const LEN: usize = 1 + 4 + 4;

    /// The body of a `flush tables` op.
    #[must_use]
    pub fn encode_all(tables: &[Self]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(tables.len() * Self::LEN);
        for table in tables {
            bytes.push(table.db.0);
            bytes.extend(table.old.0.to_le_bytes());
            bytes.extend(table.new.0.to_le_bytes());
        }
        bytes
    }

    /// Decodes the body of a `flush tables` op.
    pub fn decode_all(body: &[u8]) -> Result<Vec<Self>, DecodeError> {
        if body.is_empty() {
            return Err(DecodeError::Length);
        }
        let mut input = Input::new(body);
        let mut tables = Vec::new();
        while !input.is_empty() {
            tables.push(Self { db: database(input.u8()?)?, old: TableId(input.u32()?), new: TableId(input.u32()?) });
        }
        Ok(tables)
    }
}

/// Two databases that exchange their tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwappedDatabases {
    /// One.
    pub a: Db,
    /// The other.
    pub b: Db,
}

impl SwappedDatabases {
    /// The body of a `swap databases` op.
    #[must_use]
    pub fn encode(&self) -> [u8; 2] {
        [self.a.0, self.b.0]
    }

    /// Decodes the body of a `swap databases` op.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        match *body {
            [a, b] => Ok(Self { a: database(a)?, b: database(b)? }),
            _ => Err(DecodeError::Length),
        }
    }
}

/// Who begins an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The random id of the epoch's writer.
    pub writer: WriterId,
    /// The node that writes.
    pub node: NodeId,
    /// That node's start.
    pub incarnation: Incarnation,
}

impl EpochStart {
    const LEN: usize = 8 + 8 + 8;

    /// The body of an `epoch start` op.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut output = Output::new(&mut bytes);
        output.put(&self.writer.0.to_le_bytes());
        output.put(&self.node.0.to_le_bytes());
        output.put(&self.incarnation.0.to_le_bytes());
        bytes
    }

    /// Decodes the body of an `epoch start` op.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.len() != Self::LEN {
            return Err(DecodeError::Length);
        }
        let mut input = Input::new(body);
        Ok(Self { writer: WriterId(input.u64()?), node: NodeId(input.u64()?), incarnation: Incarnation(input.u64()?) })
    }
}

/// From here on, records that expire at this time or before count as removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiredUpTo {
    /// T.
    pub at: UnixMillis,
}

impl ExpiredUpTo {
    const LEN: usize = 8;

    /// The body of an `expired up to` op.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        self.at.0.to_le_bytes()
    }

    /// Decodes the body of an `expired up to` op.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let bytes = body.try_into().map_err(|_| DecodeError::Length)?;
        Ok(Self { at: UnixMillis(i64::from_le_bytes(bytes)) })
    }
}

fn database(number: u8) -> Result<Db, DecodeError> {
    if number < DATABASES { Ok(Db(number)) } else { Err(DecodeError::Field("database")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bodies_round_trip() {
        let tables = vec![
            FlushedTable { db: Db(0), old: TableId(0), new: TableId(16) },
            FlushedTable { db: Db(15), old: TableId(15), new: TableId(17) },
        ];
        assert_eq!(FlushedTable::decode_all(&FlushedTable::encode_all(&tables)), Ok(tables));
        let swapped = SwappedDatabases { a: Db(3), b: Db(0) };
        assert_eq!(SwappedDatabases::decode(&swapped.encode()), Ok(swapped));
        let start = EpochStart { writer: WriterId(u64::MAX), node: NodeId(2), incarnation: Incarnation(3) };
        assert_eq!(EpochStart::decode(&start.encode()), Ok(start));
        for at in [i64::MIN, -1, 0, 1_700_000_000_000, i64::MAX] {
            let expired = ExpiredUpTo { at: UnixMillis(at) };
            assert_eq!(ExpiredUpTo::decode(&expired.encode()), Ok(expired));
        }
    }

    #[test]
    fn impossible_control_bodies_are_refused() {
        assert_eq!(FlushedTable::decode_all(&[]), Err(DecodeError::Length));
        assert_eq!(FlushedTable::decode_all(&[0; 8]), Err(DecodeError::CutOff));
        assert_eq!(FlushedTable::decode_all(&[16, 0, 0, 0, 0, 0, 0, 0, 0]), Err(DecodeError::Field("database")));
        assert_eq!(SwappedDatabases::decode(&[1]), Err(DecodeError::Length));
        assert_eq!(SwappedDatabases::decode(&[1, 200]), Err(DecodeError::Field("database")));
        assert_eq!(EpochStart::decode(&[0; 25]), Err(DecodeError::Length));
        for len in [0, 7, 9] {
            assert_eq!(ExpiredUpTo::decode(&vec![0; len]), Err(DecodeError::Length));
        }
    }
}
