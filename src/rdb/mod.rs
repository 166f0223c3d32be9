//! The value encoding of RDB files, as DUMP gives it and RESTORE takes it.

mod lzf;
pub mod payload;
mod string;

#[cfg(test)]
mod tests;

/// The RDB version that payloads are written with, and the newest that is accepted: that of Redis 7.0.
pub const VERSION: u16 = 10;

/// Why a payload cannot be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RdbError {
    /// The footer names a newer version, or its checksum does not fit.
    #[error("payload version or checksum are wrong")]
    Footer,
    /// The value type is unknown here.
    #[error("unsupported value type {0}")]
    Type(u8),
    /// The value's bytes make no sense.
    #[error("malformed value")]
    Malformed,
}
