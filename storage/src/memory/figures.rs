//! What memory is used for.

/// The state of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryFigures {
    /// The limit.
    pub limit: u64,
    /// What counts towards it: anonymous memory, index, hot segments, large values in the page cache.
    pub counted: u64,
    /// Of it what cannot be given back: anonymous memory other than copies, and the index.
    pub fixed: u64,
    /// Segments read through memory.
    pub hot_segments: u64,
    /// Their bytes.
    pub hot_bytes: u64,
    /// Segments read from the medium.
    pub cold_segments: u64,
    /// Their bytes.
    pub cold_bytes: u64,
    /// Segments whose medium failed.
    pub bad_segments: u64,
    /// Copies of records of cold segments.
    pub copies: u64,
    /// Bytes that they take.
    pub copies_bytes: u64,
    /// Reads that they answered since the start.
    pub copies_hits: u64,
    /// Bytes of large values that the page cache may hold.
    pub values_bytes: u64,
}
