//! Why a command failed, with the text that Redis gives.

use esker_storage::history::Question;
use esker_storage::shard::StorageError;

/// An error reply. Texts of Redis stand here and nowhere else.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// Options that make no sense together, or unknown ones.
    #[error("ERR syntax error")]
    Syntax,
    /// An argument is not a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// An argument is not a float.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// A wrong number of arguments.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(String),
    /// An expiry that is not positive, or beyond the clock's range.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// A string would become longer than allowed.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// A bit offset that no string can have.
    #[error("ERR bit offset is not an integer or out of range")]
    BitOffset,
    /// An error with its whole text, code included.
    #[error("{0}")]
    Text(&'static str),
    /// The same, made at run time.
    #[error("{0}")]
    Owned(String),
    /// Not a failure: the past has to be looked at first, then the command is run again with the answer.
    #[error("ERR the past was not looked at")]
    LookBack(Box<Question>),
    /// The storage refused or failed.
    #[error("{code}{0}", code = code_of(.0))]
    Storage(#[from] StorageError),
}

/// What stands before the storage's words.
fn code_of(error: &StorageError) -> &'static str {
    // Of a command that had begun when the node became a replica.
    if matches!(error, StorageError::Replica) { "READONLY " } else { "ERR " }
}
