//! Errors of the index.

use std::io;

use thiserror::Error;

/// What can go wrong in the index.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The file cannot grow: no space on the device, or the mapping's end.
    #[error("the index cannot grow beyond {bytes} bytes: {source}")]
    Full {
        /// Bytes of the file.
        bytes: u64,
        /// Why the allocation failed.
        source: io::Error,
    },
    /// A file operation failed.
    #[error("cannot {action} the index: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A cell of a checkpoint has no location.
    #[error("a cell without a location: word {word:#018x}")]
    BadCell {
        /// The word.
        word: u64,
    },
}

/// Why an index file found on disk cannot be used; it is then built again from checkpoint and log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Distrust {
    /// No index file.
    #[error("there is no index file")]
    Missing,
    /// Not an index, or cut.
    #[error("it is no index file")]
    NotAnIndex,
    /// Made by another version.
    #[error("it has format version {0}")]
    Version(u32),
    /// A build did not finish.
    #[error("it was never completed")]
    Incomplete,
    /// The machine was restarted since.
    #[error("the machine was restarted since it was written")]
    Boot,
    /// Not the file that was trusted, or beside another manifest.
    #[error("{0} is not the file it was")]
    Identity(&'static str),
    /// Another hash seed than the manifest's.
    #[error("its key hash seed is not the manifest's")]
    Seed,
    /// Its structure is broken.
    #[error("stripe {stripe}, table slot {table}: {what}")]
    Damaged {
        /// The stripe.
        stripe: usize,
        /// The table slot.
        table: usize,
        /// What is wrong.
        what: &'static str,
    },
}
