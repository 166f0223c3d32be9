//! Options of `trace`.

use std::path::PathBuf;

use super::super::args::Server;
use super::super::value::CHECKED;
use super::source::Source;

/// Options of `trace`.
#[derive(Debug, Clone, clap::Args)]
pub struct Trace {
    /// The server; it is asked nothing without --replay.
    #[command(flatten)]
    pub server: Server,
    /// What is requested: zipf:THETA, scan:SHARE (Zipf 1.0 with that share of requests in scans of keys that never come again), or a file:
    /// text with a line `key[,size]` a request, or, if its name ends in .bin, libCacheSim's oracleGeneral.
    #[arg(long, default_value = "zipf:1.0", value_name = "TRACE")]
    pub trace: Source,
    /// Different keys that a trace is drawn from; none of a file's.
    #[arg(long, short, default_value_t = 500_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    pub keys: u32,
    /// Length of the trace; by default four times --keys, or all of the file.
    #[arg(long, short = 'n', value_name = "N")]
    pub requests: Option<u64>,
    /// Seed of all that is random.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Size of the cache as a part of the trace's different keys.
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    pub share: f64,
    /// Size of the cache in objects, in place of --share.
    #[arg(long, value_name = "N", conflicts_with = "share")]
    pub objects: Option<usize>,
    /// Part of the requests, from the first on, whose misses do not count.
    #[arg(long, default_value_t = 0.25, value_name = "SHARE")]
    pub warmup: f64,

    /// Sends the trace to the server: a GET a request, a SET after each miss.
    #[arg(long)]
    pub replay: bool,
    /// Bytes of a value.
    #[arg(long, short = 'd', default_value_t = 1024, value_name = "BYTES")]
    pub value_bytes: usize,
    /// Requests sent at once; the SETs of what missed go with the next ones.
    #[arg(long, short = 'P', default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,

    /// Writes all figures into a file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Trace {
    /// Objects in the cache, by the number of different keys.
    pub(super) fn cache_objects(&self, footprint: usize) -> Result<usize, String> {
        if !(0.0..1.0).contains(&self.warmup) {
            return Err("--warmup is a part of the requests: 0 or above, and below 1".to_owned());
        }
        if self.replay && self.value_bytes < CHECKED {
            return Err(format!("values below {CHECKED} bytes have no room for what they are checked by"));
        }
        let objects = self.objects.unwrap_or((footprint as f64 * self.share) as usize);
        if objects == 0 { Err("a cache of no objects misses everything".to_owned()) } else { Ok(objects) }
    }
}
