//! Newtypes for every number of the storage layer. A leaf: imports nothing of this crate.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Log sequence number: one an entry, per shard, without gaps when written. The first entry has LSN 1; 0 means "before all".
    Lsn(u64)
);
number!(
    /// A hash slot, 0..16384.
    Slot(u16)
);
number!(
    /// A shard of a node.
    ShardId(u32)
);
number!(
    /// A segment as index locations name it: 18 bits, local to the node.
    SegmentId(u32)
);
number!(
    /// Counts the segment files made by a shard; part of the file name.
    Generation(u32)
);
number!(
    /// The number of an epoch (Raft: the term).
    EpochNumber(u32)
);
number!(
    /// The random id of an epoch's writer.
    WriterId(u64)
);
number!(
    /// A node's id.
    NodeId(u64)
);
number!(
    /// One start of a node.
    Incarnation(u64)
);
number!(
    /// A table: what a database number pointed to when a record was written.
    TableId(u32)
);
number!(
    /// A time, in milliseconds since the Unix epoch.
    UnixMillis(i64)
);
number!(
    /// A database number.
    Db(u8)
);
number!(
    /// xxh3_64 of a key, seeded by the shard's key hash seed.
    KeyHash(u64)
);

/// Identifies a history: made when a shard is created empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HistoryId(pub u128);

impl fmt::Display for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Lsn {
    /// The LSN after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Number of hash slots.
pub const SLOTS: u16 = 16384;
/// Number of lock stripes of a shard; a stripe holds `SLOTS / STRIPES` neighbouring slots.
pub const STRIPES: usize = 256;
/// Number of databases.
pub const DATABASES: u8 = 16;

impl Slot {
    /// The stripe that holds this slot.
    #[must_use]
    pub fn stripe(self) -> usize {
        usize::from(self.0 >> 6)
    }
}

/// Where an op lies: 18 bits of segment id, 30 bits of byte offset in that segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(u64);

impl Location {
    /// Bits of the byte offset.
    pub const OFFSET_BITS: u32 = 30;
    /// Bits of the segment id.
    pub const SEGMENT_BITS: u32 = 18;
    /// All bits of a location.
    pub const BITS: u32 = Self::OFFSET_BITS + Self::SEGMENT_BITS;

    /// Joins a segment and an offset. Both must fit; segment headers keep the offset from being 0.
    #[must_use]
    pub fn new(segment: SegmentId, offset: u32) -> Self {
        debug_assert!(segment.0 < 1 << Self::SEGMENT_BITS && offset < 1 << Self::OFFSET_BITS);
        Self(u64::from(segment.0) << Self::OFFSET_BITS | u64::from(offset))
    }

    /// The location with these bits.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    /// The 48 bits.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The segment's id.
    #[must_use]
    pub fn segment(self) -> SegmentId {
        SegmentId((self.0 >> Self::OFFSET_BITS) as u32)
    }

    /// The byte offset in the segment.
    #[must_use]
    pub fn offset(self) -> u32 {
        (self.0 & ((1 << Self::OFFSET_BITS) - 1)) as u32
    }
}

const _: () = assert!(Location::BITS == 48);
