//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};

use super::connection::Target;
use super::keys::Distribution;
use super::mix::Mix;
use super::replication::Replication;
use super::trace::Trace;
use super::value::{CHECKED, LONGEST};

/// How long a connection may take to be set up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Measures servers of the Redis protocol.
#[derive(Debug, Parser)]
#[command(name = "esker-bench", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Puts load on a server and reports throughput, latencies, and every wrong answer. Exit status 1 if there was one.
    Load(Box<Load>),
    /// Replays a trace of requests against a server that evicts, and through models of LRU, FIFO and S3-FIFO: the share of GETs that miss.
    Trace(Box<Trace>),
    /// Starts a primary and replicas of its own over links with a delay, and measures what each mode costs and loses.
    Replication(Box<Replication>),
}

/// Where to connect and as whom.
#[derive(Debug, Clone, clap::Args)]
pub struct Server {
    /// The server's name or address.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Its port.
    #[arg(long, short, default_value_t = 6379)]
    pub port: u16,
    /// The password to give with AUTH; by default the environment variable REDISCLI_AUTH.
    #[arg(long, value_name = "TEXT")]
    pub password: Option<String>,
    /// The user to give with AUTH.
    #[arg(long, value_name = "NAME", requires = "password")]
    pub user: Option<String>,
    /// The database to select.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub db: u32,
    /// Seconds to wait for a server that refuses connections or is loading its data.
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    pub wait: f64,
}

impl Server {
    pub(super) fn target(&self) -> Target {
        Target {
            host: self.host.clone(),
            port: self.port,
            user: self.user.clone(),
            password: self.password.clone().or_else(|| std::env::var("REDISCLI_AUTH").ok()),
            db: self.db,
            patience: PATIENCE,
        }
    }

    /// When a server that is not up yet is given up.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_nanos(nanos(self.wait))
    }
}

/// Options of `load`.
#[derive(Debug, Clone, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct Load {
    /// The server.
    #[command(flatten)]
    pub server: Server,

    /// Requests a second, sent when due whatever has been answered (open loop); without it a client sends when it has its replies (closed loop).
    #[arg(long, value_name = "N", value_parser = positive)]
    pub rate: Option<f64>,
    /// Connections.
    #[arg(long, short, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub clients: u32,
    /// Requests that a client sends at once, awaiting all their replies before the next.
    #[arg(long, short = 'P', default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub pipeline: u32,
    /// Threads that share the clients.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// How long to measure; 10 if --requests is not given either.
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub seconds: Option<f64>,
    /// How many requests to send; 0: none, for --fill alone.
    #[arg(long, short = 'n', value_name = "N")]
    pub requests: Option<u64>,
    /// Seconds of load before the measurement, which count for nothing but the checks.
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    pub warmup: f64,

    /// Number of different keys.
    #[arg(long, short, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
    pub keys: u64,
    /// Which keys are asked for: uniform, zipf:THETA (key 0 the most often), sequential.
    #[arg(long, default_value = "uniform", value_name = "HOW")]
    pub distribution: Distribution,
    /// Bytes of a value: N, or A..B for any length between, both ends included.
    #[arg(long, short = 'd', default_value = "100", value_name = "BYTES")]
    pub value_bytes: Lengths,
    /// Shares of the commands: set, get, del, incr, expire, ping.
    #[arg(long, default_value = "set=50,get=50", value_name = "NAME=SHARE,…")]
    pub mix: Mix,
    /// Time to live of keys that are set, and what EXPIRE sets (without it: 60).
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub ttl: Option<u64>,
    /// What keys begin with.
    #[arg(long, default_value = "key:", value_name = "TEXT")]
    pub key_prefix: String,
    /// Puts all keys under one hash tag, and so into one slot.
    #[arg(long, value_name = "TAG", num_args = 0..=1, default_missing_value = "tag")]
    pub hash_tag: Option<String>,
    /// Seed of all that is random.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Writes every key once before the measurement.
    #[arg(long)]
    pub fill: bool,

    /// Also demands that no read is older than a write that was acknowledged before it was sent; nobody else may write to these keys.
    #[arg(long)]
    pub verify: bool,
    /// Neither writes nor expects what values are checked by; allows values below 24 bytes.
    #[arg(long, conflicts_with = "verify")]
    pub unchecked: bool,
    /// Connects again when the server goes away; requests lost by that are counted and are no failure.
    #[arg(long)]
    pub reconnect: bool,
    /// Error replies are counted and are no failure.
    #[arg(long)]
    pub tolerate_errors: bool,

    /// Prints a line every so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub interval: Option<f64>,
    /// Writes all figures into a file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Load {
    /// Nanoseconds that the measurement lasts, if time ends it.
    pub(super) fn nanos(&self) -> Option<u64> {
        let seconds = if self.requests.is_some() { self.seconds } else { Some(self.seconds.unwrap_or(10.0)) };
        seconds.map(nanos)
    }

    /// What cannot be told of one option alone.
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.unchecked && self.value_bytes.from < CHECKED {
            return Err(format!("values below {CHECKED} bytes have no room for what they are checked by: add --unchecked"));
        }
        if self.hash_tag.as_ref().is_some_and(|tag| tag.is_empty() || tag.contains('}')) {
            return Err("a hash tag is not empty and holds no '}'".to_owned());
        }
        Ok(())
    }
}

/// Seconds as nanoseconds.
pub(super) fn nanos(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9) as u64
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("not above 0".to_owned()) }
}

/// Lengths of values, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    pub(super) from: usize,
    pub(super) to: usize,
}

impl FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("{text:?} is no number of bytes"));
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let lengths = Self { from: number(from)?, to: number(to)? };
        if lengths.from > lengths.to || lengths.to > LONGEST {
            return Err(format!("lengths rise and are at most {LONGEST}"));
        }
        Ok(lengths)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn load(words: &[&str]) -> Result<Load, String> {
        let args = Args::try_parse_from([&["esker-bench", "load"], words].concat()).map_err(|error| error.to_string())?;
        let Command::Load(load) = args.command else { panic!("{words:?} are options of load") };
        load.check().map(|()| *load)
    }

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn time_ends_a_run_unless_requests_do() {
        assert_eq!(load(&[]).unwrap().nanos(), Some(10_000_000_000));
        assert_eq!(load(&["--requests", "5"]).unwrap().nanos(), None);
        assert_eq!(load(&["--requests", "5", "--seconds", "0.5"]).unwrap().nanos(), Some(500_000_000));
    }

    #[test]
    fn what_cannot_be_met_is_refused() {
        for words in [
            &["--value-bytes", "23"][..],
            &["--value-bytes", "9..8", "--unchecked"],
            &["--rate", "0"],
            &["--rate", "-1"],
            &["--verify", "--unchecked"],
            &["--hash-tag", "a}"],
            &["--distribution", "zipf"],
            &["--mix", "set=0"],
            &["--mix", "hset=1"],
        ] {
            assert!(load(words).is_err(), "{words:?}");
        }
        assert_eq!(load(&["--value-bytes", "3", "--unchecked"]).unwrap().value_bytes, Lengths { from: 3, to: 3 });
        assert_eq!(load(&["--value-bytes", "24..4096"]).unwrap().value_bytes, Lengths { from: 24, to: 4096 });
        assert_eq!(load(&["--hash-tag"]).unwrap().hash_tag.as_deref(), Some("tag"));
    }
}
