//! Names of the files of a shard's directory.

use crate::types::{Generation, Lsn, UnixMillis};

/// The manifest.
pub const MANIFEST: &str = "MANIFEST";
/// The manifest to be, until it is renamed.
pub const MANIFEST_TMP: &str = "MANIFEST.tmp";
/// The index.
pub const INDEX: &str = "index";

/// What a file of a shard's directory is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileName {
    /// A log segment.
    Segment(Lsn, Generation),
    /// A segment allocated ahead.
    Spare(Generation),
    /// A segment that cleaning is writing.
    Cleaning(Generation),
    /// A value segment.
    Value(u128),
    /// An index image.
    Checkpoint(Lsn),
    /// What was cut from the log at this LSN.
    Torn(Lsn, UnixMillis),
}

impl FileName {
    /// Recognises a name; `None` for names that are none of these.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let parsed = if let Some(stem) = name.strip_suffix(".seg") {
            match stem.split_once('-') {
                Some((base, generation)) => Self::Segment(Lsn(base.parse().ok()?), Generation(generation.parse().ok()?)),
                None => Self::Value(u128::from_str_radix(stem, 16).ok()?),
            }
        } else if let Some(generation) = name.strip_prefix("spare-") {
            Self::Spare(Generation(generation.parse().ok()?))
        } else if let Some(generation) = name.strip_prefix("cleaning-") {
            Self::Cleaning(Generation(generation.parse().ok()?))
        } else if let Some(lsn) = name.strip_prefix("checkpoint-") {
            Self::Checkpoint(Lsn(lsn.parse().ok()?))
        } else {
            let (lsn, time) = name.strip_prefix("torn-")?.strip_suffix(".log")?.split_once('-')?;
            Self::Torn(Lsn(lsn.parse().ok()?), UnixMillis(time.parse().ok()?))
        };
        // Only the one spelling that we write: no signs, no missing zeros.
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Segment(base, generation) => write!(f, "{:020}-{:08}.seg", base.0, generation.0),
            Self::Spare(generation) => write!(f, "spare-{:08}", generation.0),
            Self::Cleaning(generation) => write!(f, "cleaning-{:08}", generation.0),
            Self::Value(id) => write!(f, "{id:032x}.seg"),
            Self::Checkpoint(lsn) => write!(f, "checkpoint-{:020}", lsn.0),
            Self::Torn(lsn, time) => write!(f, "torn-{:020}-{}.log", lsn.0, time.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_in_their_one_spelling() {
        let names = [
            (FileName::Segment(Lsn(u64::MAX), Generation(7)), "18446744073709551615-00000007.seg"),
            (FileName::Spare(Generation(12)), "spare-00000012"),
            (FileName::Value(0xabc), "00000000000000000000000000000abc.seg"),
            (FileName::Checkpoint(Lsn(5)), "checkpoint-00000000000000000005"),
            (FileName::Torn(Lsn(5), UnixMillis(1_700_000_000_000)), "torn-00000000000000000005-1700000000000.log"),
        ];
        for (file, name) in names {
            assert_eq!(file.to_string(), name);
            assert_eq!(FileName::parse(name), Some(file));
        }
        for other in ["1-1.seg", "spare-+0000012", "spare-12", ".seg", "-.seg", "ABC.seg", "MANIFEST", "torn-5.log", "index", ""] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }
}
