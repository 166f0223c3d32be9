//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand, ValueEnum};
use esker_storage::codec::op::OpCode;
use esker_storage::types::{Lsn, Slot, UnixMillis};

/// Looks into the log of an Esker data directory, of a running or a stopped server. Writes nothing there, but for `repair --apply`.
#[derive(Debug, Parser)]
#[command(name = "esker-log", version)]
pub struct Args {
    /// The data directory [default: ./esker-data]
    #[arg(long, short, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the segments: LSN range, bytes, live and dead bytes, sealed or active.
    Ls(Plain),
    /// Prints the log, one line an op.
    Dump(Dump),
    /// Checks every checksum, footer and manifest; exit status 1 if any is damaged.
    Verify(Plain),
    /// Counts keys and bytes by size, time to live and slot, and what of the log is live.
    Stat(Plain),
    /// Prints the last ops, and with -f those that come.
    Tail(Tail),
    /// Prints all that the log holds about a key.
    History(History),
    /// Writes all keys and values, now or as of an LSN or a time, as commands for `redis-cli --pipe` or as JSON.
    Export(Export),
    /// Makes the log of a stopped server sound again. Tells what it would do, and does it with --apply.
    Repair(Repair),
    /// Lists what was set aside: entries that a primary did not have, data of other histories, what was cut from the log.
    Divergent(Divergent),
    /// Writes what a divergent-*.log holds to a running server; exit status 1 if something of it was left out.
    Reapply(Reapply),
}

/// Options that all commands share.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Plain {
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// How ops are printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Format {
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Print values too: whole ones as JSON, else their beginning.
    #[arg(long)]
    pub values: bool,
}

/// Options of `dump`.
#[derive(Debug, clap::Args)]
pub struct Dump {
    /// A file torn-*.log, corrupt-*.log or divergent-*.log instead of the log: what was cut or set aside.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) format: Format,
}

/// Options of `tail`.
#[derive(Debug, clap::Args)]
pub struct Tail {
    /// Go on with what is written, until interrupted.
    #[arg(long, short)]
    pub follow: bool,
    /// How many ops to begin with.
    #[arg(long, short = 'n', default_value_t = 10, value_name = "N")]
    pub lines: usize,
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) format: Format,
}

/// Options of `history`.
#[derive(Debug, clap::Args)]
pub struct History {
    /// The key, byte by byte.
    pub key: OsString,
    /// Only of this database.
    #[arg(long, value_name = "N")]
    pub db: Option<u8>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// Options of `export`.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The data directory, as --dir.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// What to write.
    #[arg(long, value_enum, default_value_t = ExportFormat::Resp)]
    pub format: ExportFormat,
    /// The state after the entry of this LSN.
    #[arg(long, value_name = "N", conflicts_with = "time")]
    pub lsn: Option<u64>,
    /// The state at a time: Unix milliseconds, 2026-01-31, 2026-01-31T12:30:00 (UTC), or -10m for ten minutes ago.
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = UnixMillis::read)]
    pub time: Option<UnixMillis>,
    /// Only this database.
    #[arg(long, value_name = "N")]
    pub db: Option<u8>,
    /// Only keys that match the pattern, as in KEYS.
    #[arg(long, value_name = "GLOB")]
    pub key: Option<OsString>,
    /// Leave times of expiry out: keys that have expired since come back, and stay.
    #[arg(long)]
    pub no_expiry: bool,
}

/// Options of `repair`.
#[derive(Debug, clap::Args)]
pub struct Repair {
    /// The data directory, as --dir.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Do it.
    #[arg(long)]
    pub apply: bool,
    /// Remove the index too: the next start builds it again.
    #[arg(long)]
    pub rebuild_index: bool,
}

/// Options of `divergent`.
#[derive(Debug, clap::Args)]
pub struct Divergent {
    /// The data directory, as --dir.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// Options of `reapply`.
#[derive(Debug, clap::Args)]
pub struct Reapply {
    /// The divergent-*.log. With --dir, what it is based on may come from that data directory.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The server: the primary that the file's writer parted from.
    #[arg(long, value_name = "HOST:PORT")]
    pub to: String,
    /// Its password.
    #[arg(long)]
    pub password: Option<String>,
    /// The user of the password.
    #[arg(long, requires = "password")]
    pub user: Option<String>,
    /// Only keys that match the pattern, as in KEYS.
    #[arg(long, value_name = "GLOB")]
    pub keys: Option<OsString>,
    /// Only tell what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// What becomes of keys that were written at the server since.
    #[arg(long, value_enum, default_value_t = OnConflict::Skip)]
    pub on_conflict: OnConflict,
    /// Name every key, not only those that are left out.
    #[arg(long, short)]
    pub verbose: bool,
    /// One JSON object a line, the last one the summary.
    #[arg(long)]
    pub json: bool,
}

/// What becomes of a key that both sides wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnConflict {
    /// It stays as it is at the server.
    Skip,
    /// It becomes what the file says.
    Overwrite,
}

/// What an export is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Commands of the Redis protocol.
    Resp,
    /// One JSON object a line.
    Json,
}

/// Which ops to print. An op has to meet all that is given.
#[derive(Debug, Default, clap::Args)]
pub struct Selection {
    /// LSNs, both ends included: A..B, A.., ..B or A.
    #[arg(long, value_name = "A..B")]
    pub lsn: Option<Bounds<Lsn>>,
    /// Keys that match the pattern, as in KEYS.
    #[arg(long, value_name = "GLOB")]
    pub key: Option<OsString>,
    /// Times, both ends included: Unix milliseconds, 2026-01-31, 2026-01-31T12:30:00 (UTC), or -10m for ten minutes ago.
    #[arg(long, value_name = "A..B", allow_hyphen_values = true)]
    pub time: Option<Bounds<UnixMillis>>,
    /// Slots of keys, both ends included: A..B, A.., ..B or A.
    #[arg(long, value_name = "A..B")]
    pub slot: Option<Bounds<Slot>>,
    /// Kinds of ops, separated by commas.
    #[arg(long, value_name = "OP", value_delimiter = ',')]
    pub op: Vec<OpKind>,
}

/// Kinds of ops, by the names that the output uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OpKind {
    /// A whole value.
    Put,
    /// A removal.
    Tombstone,
    /// A change of a value.
    Delta,
    /// FLUSHDB and FLUSHALL.
    Flush,
    /// SWAPDB.
    Swap,
    /// A writer's start.
    Epoch,
    /// Keys that made room for others.
    Evict,
    /// What had expired by a time counts as removed.
    Expired,
}

impl From<OpCode> for OpKind {
    fn from(code: OpCode) -> Self {
        match code {
            OpCode::Put => Self::Put,
            OpCode::Tombstone => Self::Tombstone,
            OpCode::Delta => Self::Delta,
            OpCode::FlushTables => Self::Flush,
            OpCode::SwapDatabases => Self::Swap,
            OpCode::EpochStart => Self::Epoch,
            OpCode::Evict => Self::Evict,
            OpCode::ExpiredUpTo => Self::Expired,
        }
    }
}

impl OpKind {
    /// The name that the output uses.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Tombstone => "tombstone",
            Self::Delta => "delta",
            Self::Flush => "flush",
            Self::Swap => "swap",
            Self::Epoch => "epoch",
            Self::Evict => "evict",
            Self::Expired => "expired",
        }
    }
}

/// A range with both ends included, either of which may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds<T> {
    pub(super) from: Option<T>,
    pub(super) to: Option<T>,
}

impl<T: PartialOrd> Bounds<T> {
    pub(super) fn contains(&self, value: &T) -> bool {
        self.from.as_ref().is_none_or(|from| value >= from) && self.to.as_ref().is_none_or(|to| value <= to)
    }
}

/// A bound that the command line gives as text.
pub trait Bound: Sized + Copy {
    /// Reads it; the error is for the user.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(text: &str) -> Result<Self, String>;
}

fn number<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

impl Bound for Lsn {
    fn read(text: &str) -> Result<Self, String> {
        number(text).map(Lsn)
    }
}

impl Bound for Slot {
    fn read(text: &str) -> Result<Self, String> {
        number(text).map(Slot)
    }
}

impl Bound for UnixMillis {
    fn read(text: &str) -> Result<Self, String> {
        if let Ok(millis) = text.parse() {
            return Ok(UnixMillis(millis));
        }
        let time = if let Some(ago) = text.strip_prefix('-') {
            let ago = humantime::parse_duration(ago).map_err(|error| format!("{text}: {error}"))?;
            SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH)
        } else {
            let whole = if text.len() == "2026-01-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
            humantime::parse_rfc3339_weak(&whole).map_err(|error| format!("{text}: {error}"))?
        };
        Ok(UnixMillis(time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as i64))
    }
}

impl<T: Bound> FromStr for Bounds<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((from, to)) = text.split_once("..") else {
            let only = T::read(text)?;
            return Ok(Self { from: Some(only), to: Some(only) });
        };
        let end = |text: &str| if text.is_empty() { Ok(None) } else { T::read(text).map(Some) };
        Ok(Self { from: end(from)?, to: end(to)? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn bounds(text: &str) -> Bounds<Lsn> {
        text.parse().unwrap()
    }

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn both_ends_of_a_range_are_included_and_may_be_left_out() {
        assert!(bounds("3..5").contains(&Lsn(3)) && bounds("3..5").contains(&Lsn(5)) && !bounds("3..5").contains(&Lsn(6)));
        assert!(bounds("3..").contains(&Lsn(u64::MAX)) && !bounds("3..").contains(&Lsn(2)));
        assert!(bounds("..5").contains(&Lsn(0)) && bounds("4").contains(&Lsn(4)) && !bounds("4").contains(&Lsn(5)));
        assert!("x..5".parse::<Bounds<Lsn>>().is_err());
    }

    #[test]
    fn times_are_read_in_every_form() {
        assert_eq!(UnixMillis::read("1700000000123"), Ok(UnixMillis(1_700_000_000_123)));
        assert_eq!(UnixMillis::read("2023-11-14T22:13:20"), Ok(UnixMillis(1_700_000_000_000)));
        assert_eq!(UnixMillis::read("2023-11-14T22:13:20.123Z"), Ok(UnixMillis(1_700_000_000_123)));
        assert_eq!(UnixMillis::read("2023-11-14"), Ok(UnixMillis(1_699_920_000_000)));
        let ago = UnixMillis::read("-1h").unwrap().0 - UnixMillis::read("-2h").unwrap().0;
        assert!((3_500_000..3_700_000).contains(&ago));
        assert!(UnixMillis::read("yesterday").is_err());
    }
}
