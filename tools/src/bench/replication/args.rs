//! Options of `replication`.

use std::path::PathBuf;
use std::time::Duration;

use super::super::args::{Lengths, Load, Server, nanos};
use super::super::keys::Distribution;
use super::super::mix::{Mix, Op};
use super::super::value::CHECKED;
use super::link::Shape;
use super::setup::{Mode, Setup};

/// Options of `replication`.
#[derive(Debug, Clone, clap::Args)]
pub struct Replication {
    /// The server's program; by default `esker` beside this program, or else the one in PATH.
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,
    /// Where the data directories are made, which are removed at the end; by default the system's directory of temporary files.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// One-way delays of the links in milliseconds, each measured; a round trip takes twice that.
    #[arg(long, value_name = "MS,…", value_delimiter = ',', default_value = "0,0.5,5", value_parser = not_negative)]
    pub link_delay: Vec<f64>,
    /// Megabytes (10^6 bytes) a second that a link carries in each direction; without it as many as the machine does.
    #[arg(long, value_name = "MB", value_parser = above_zero)]
    pub link_rate: Option<f64>,
    /// Share of 1448-byte segments that are lost, 0 to 1: each holds up all behind it for a round trip, as TCP's fast retransmission does.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub link_loss: f64,

    /// Modes: none (no replica), async, semi-sync, sync.
    #[arg(long, value_name = "MODE,…", value_delimiter = ',', default_value = "none,async,semi-sync,sync")]
    pub modes: Vec<Mode>,
    /// Numbers of replicas.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub replicas: Vec<u32>,

    /// Requests a second of the load at a fixed rate; there is also one as fast as it goes.
    #[arg(long, value_name = "N", default_value_t = 2000.0, value_parser = above_zero)]
    pub rate: f64,
    /// Connections.
    #[arg(long, short, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub clients: u32,
    /// Requests that a client sends at once.
    #[arg(long, short = 'P', default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub pipeline: u32,
    /// Seconds of each load.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = above_zero)]
    pub seconds: f64,
    /// Seconds of the same load before it, which do not count.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = not_negative)]
    pub warmup: f64,
    /// Different keys, all of which are written first.
    #[arg(long, short, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub keys: u64,
    /// Bytes of a value: N, or A..B for any length between, both ends included; 24 at least.
    #[arg(long, short = 'd', default_value = "100", value_name = "BYTES")]
    pub value_bytes: Lengths,
    /// Shares of the commands: set, get, del, incr, expire, ping.
    #[arg(long, default_value = "set=1", value_name = "NAME=SHARE,…")]
    pub mix: Mix,
    /// Seed of all that is random.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,

    /// Seconds of load after which the primary is killed, to count the acknowledged writes that its best replica lacks; 0: not at all.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = not_negative)]
    pub kill: f64,
    /// Keys of the catch-up, of which a tenth is written while the replica is away, and of the full sync; 0: neither.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    pub sync_keys: u64,
    /// How often all is measured; figures are medians.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,

    /// Writes all figures, each round's too, into a file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes tables and plots into a file as HTML, which needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// More options for every server, after `--`; without any `--io-threads 1`.
    #[arg(last = true, value_name = "OPTIONS")]
    pub server_options: Vec<String>,
}

impl Replication {
    /// What cannot be told of one option alone.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.value_bytes.from < CHECKED {
            return Err(format!("values are checked, and below {CHECKED} bytes there is no room for that"));
        }
        if !self.mix.has(Op::Set) {
            return Err("without SET there is nothing to replicate".to_owned());
        }
        Ok(())
    }

    /// All that is measured over one link: none alone, and every other mode with every number of replicas.
    pub(super) fn setups(&self) -> Vec<Setup> {
        let with = |mode: &Mode| {
            let numbers: &[u32] = if *mode == Mode::None { &[0] } else { &self.replicas };
            numbers.iter().map(|replicas| Setup { mode: *mode, replicas: *replicas }).collect::<Vec<_>>()
        };
        self.modes.iter().flat_map(with).collect()
    }

    /// The links, one of them at a time.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        let shape = |delay: &f64| Shape {
            delay: Duration::from_nanos((delay * 1e6) as u64),
            rate: self.link_rate.map(|megabytes| megabytes * 1e6),
            loss: self.link_loss,
        };
        self.link_delay.iter().map(shape).collect()
    }

    pub(super) fn server_options(&self) -> Vec<String> {
        if self.server_options.is_empty() { vec!["--io-threads".to_owned(), "1".to_owned()] } else { self.server_options.clone() }
    }

    /// The load on a server, in a closed loop and without checks across reads, over so many keys.
    pub(super) fn load(&self, port: u16, keys: u64) -> Load {
        Load {
            server: Server { host: "127.0.0.1".to_owned(), port, password: None, user: None, db: 0, wait: 0.0 },
            rate: None,
            clients: self.clients,
            pipeline: self.pipeline,
            threads: 1,
            seconds: Some(self.seconds),
            requests: None,
            warmup: 0.0,
            keys,
            distribution: Distribution::Uniform,
            value_bytes: self.value_bytes,
            mix: self.mix.clone(),
            ttl: None,
            key_prefix: "key:".to_owned(),
            hash_tag: None,
            seed: self.seed,
            fill: false,
            verify: false,
            unchecked: false,
            reconnect: false,
            tolerate_errors: false,
            interval: None,
            json: None,
        }
    }

    /// When the primary is killed.
    pub(super) fn kill_after(&self) -> Option<Duration> {
        (self.kill > 0.0).then(|| Duration::from_nanos(nanos(self.kill)))
    }
}

fn number(text: &str, allowed: impl Fn(f64) -> bool, what: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && allowed(number) { Ok(number) } else { Err(what.to_owned()) }
}

fn above_zero(text: &str) -> Result<f64, String> {
    number(text, |number| number > 0.0, "not above 0")
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |number| number >= 0.0, "below 0")
}

fn share(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..=1.0).contains(&number), "not from 0 to 1")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use clap::Parser;

    use super::super::super::args::{Args, Command};
    use super::*;

    fn options(words: &[&str]) -> Result<Replication, String> {
        let args = Args::try_parse_from([&["esker-bench", "replication"], words].concat()).map_err(|error| error.to_string())?;
        let Command::Replication(options) = args.command else { panic!("{words:?} are options of replication") };
        options.check().map(|()| *options)
    }

    #[test]
    fn every_mode_is_measured_with_every_number_of_replicas_over_every_link() {
        let all = options(&[]).unwrap();
        let names: Vec<String> = all.setups().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["none", "async 1", "async 2", "semi-sync 1", "semi-sync 2", "sync 1", "sync 2"]);
        let delays: Vec<_> = all.shapes().iter().map(|shape| shape.delay.as_micros()).collect();
        assert_eq!(delays, [0, 500, 5000]);
        assert_eq!(all.server_options(), ["--io-threads", "1"]);
        let some =
            options(&["--modes", "sync", "--replicas", "3", "--link-delay", "1", "--link-rate", "12.5", "--", "--appendfsync", "no"]);
        let some = some.unwrap();
        assert_eq!(some.setups(), [Setup { mode: Mode::Sync, replicas: 3 }]);
        assert_eq!((some.shapes()[0].rate, some.server_options()), (Some(12_500_000.0), vec!["--appendfsync".to_owned(), "no".to_owned()]));
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for words in [
            &["--value-bytes", "23"][..],
            &["--mix", "get=1"],
            &["--link-delay", "-1"],
            &["--link-loss", "2"],
            &["--link-rate", "0"],
            &["--replicas", "0"],
            &["--modes", "raft"],
            &["--rounds", "0"],
        ] {
            assert!(options(words).is_err(), "{words:?}");
        }
    }
}
