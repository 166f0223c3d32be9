//! A soak: a small space is overwritten many times, with everything that makes records dead, while the process is killed every few seconds.
//! In the end each key is as its client knows it, and the log is sound. At no time does the server take more disk, memory or descriptors
//! than it may. The long form, for `ESKER_LONG` seconds (600 if that is no number), is the same for longer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use common::{Connection, Server};
use esker_tools::log::{Args, Outcome, run};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const MAXDISK: u64 = 64 << 20;
const WRITERS: u64 = 3;
/// Of one writer: with the values below a third of the limit in all.
const KEYS: u64 = 2500;
/// Anonymous memory beyond that of a server that has just begun.
const MEMORY: u64 = 48 << 20;
/// Open files of a server with some 70 segments.
const DESCRIPTORS: usize = 400;
/// What a key still lives at least for a check to be sure of it, and how long after its time it may be seen, in milliseconds.
const SLACK: u64 = 300;

/// A key's value, and when it expires.
type Held = (Vec<u8>, Option<u64>);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn lasting() -> Duration {
    let long = std::env::var("ESKER_LONG").ok();
    Duration::from_secs(long.map_or(15, |seconds| seconds.parse().ok().filter(|seconds| *seconds > 1).unwrap_or(600)))
}

/// One client, with keys and a database of its own.
struct Writer {
    number: u64,
    rng: StdRng,
    held: BTreeMap<String, Held>,
    /// Sent, and not answered when the server was killed: the key, and what it holds if the request arrived.
    doubtful: Option<(String, Option<Held>)>,
    bytes: u64,
    refused: u64,
}

impl Writer {
    fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.random_range(0..1000) {
            0..900 => self.rng.random_range(0..2500),
            900..990 => self.rng.random_range(5000..15_000),
            990..998 => self.rng.random_range(50_000..200_000),
            _ => self.rng.random_range(300_000..900_000),
        };
        let first: u8 = self.rng.random();
        (0..len).map(|n| first.wrapping_add((n / 11) as u8)).collect()
    }

    /// The arguments of a request, and what its key then holds.
    fn change(&mut self) -> (Vec<Vec<u8>>, String, Option<Held>) {
        // Few keys have large values.
        let key = format!("{}:{}", self.number, self.rng.random_range(0..KEYS));
        let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect();
        let old = self.held.get(&key).filter(|(_, at)| at.is_none_or(|at| at > now() + SLACK)).cloned();
        // What is about to expire may be there or not: it is written anew.
        let unclear = self.held.contains_key(&key) && old.is_none();
        match self.rng.random_range(0..100) {
            0..10 => (words(&[b"DEL", key.as_bytes()]), key, None),
            10..25 if !unclear => {
                let more = self.rng.random_range(1..60);
                let (mut value, at) = old.unwrap_or_default();
                value.resize(value.len() + more, b'+');
                (words(&[b"APPEND", key.as_bytes(), &vec![b'+'; more]]), key, Some((value, at)))
            }
            25..50 => {
                let (value, at) = (self.value(), now() + self.rng.random_range(200..6000));
                (words(&[b"SET", key.as_bytes(), &value, b"PXAT", at.to_string().as_bytes()]), key, Some((value, Some(at))))
            }
            _ => {
                let value = self.value();
                (words(&[b"SET", key.as_bytes(), &value]), key, Some((value, None)))
            }
        }
    }

    fn note(&mut self, key: String, held: Option<Held>) {
        match held {
            Some(held) => drop(self.held.insert(key, held)),
            None => drop(self.held.remove(&key)),
        }
    }

    /// Writes until the server is gone or `stop` is set.
    fn run(&mut self, port: u16, stop: &AtomicBool) {
        let mut connection = Connection::to(port);
        while !stop.load(Ordering::Relaxed) {
            if self.rng.random_bool(0.002) && !self.fill_and_flush(&mut connection) {
                return;
            }
            let (request, key, held) = self.change();
            let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
            let Ok(reply) = connection.try_send(&words).and_then(|()| connection.try_reply()) else {
                self.doubtful = Some((key, held));
                return;
            };
            if reply.starts_with('-') {
                assert!(reply.starts_with("-ERR no space left"), "{reply}");
                self.refused += 1;
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            self.bytes += request.iter().map(|word| word.len() as u64).sum::<u64>();
            self.note(key, held);
        }
    }

    /// Another database gets some keys, a large value among them, and is flushed. False: the server is gone.
    fn fill_and_flush(&mut self, connection: &mut Connection) -> bool {
        let other = format!("SELECT {}", self.number + 1);
        let large = vec![b'x'; 700_000];
        let mut steps = || {
            connection.try_ask(&other)?;
            for n in 0..50 {
                connection.try_ask(&format!("SET other:{n} {n}"))?;
            }
            connection.try_send(&[b"SET", b"large", &large])?;
            connection.try_reply()?;
            connection.try_ask("FLUSHDB")?;
            connection.try_ask("SELECT 0")
        };
        steps().is_ok()
    }

    /// Demands of each key what was last written, or what expiry has made of it.
    fn check(&mut self, connection: &mut Connection, what: &str) {
        if let Some((key, held)) = self.doubtful.take() {
            connection.send(&[b"GET", key.as_bytes()]);
            let found = connection.bulk();
            let arrived = held.as_ref().map(|(value, _)| value) == found.as_ref();
            // The same value either way may differ in its expiry: a third time makes it certain.
            let same = self.held.get(&key).map(|(value, _)| value) == held.as_ref().map(|(value, _)| value);
            let expired = held.as_ref().is_some_and(|(_, at)| at.is_some_and(|at| at < now() + SLACK));
            if arrived && !same {
                self.note(key, held);
            } else if same || expired {
                until_admitted(connection, &["DEL", &key]);
                self.held.remove(&key);
            }
        }
        for (key, (value, at)) in &self.held {
            connection.send(&[b"GET", key.as_bytes()]);
            let before = now();
            let found = connection.bulk();
            match (found, at) {
                (Some(found), at) => {
                    assert!(found == *value, "{what}: {key} has {} bytes, not {}", found.len(), value.len());
                    assert!(at.is_none_or(|at| at + SLACK > before), "{what}: {key} is still there");
                }
                (None, Some(at)) => assert!(*at < now() + SLACK, "{what}: {key} is gone before its time"),
                (None, None) => panic!("{what}: {key} is gone"),
            }
        }
        self.held.retain(|_, (_, at)| at.is_none_or(|at| at + SLACK > now()));
    }
}

fn until_admitted(connection: &mut Connection, words: &[&str]) {
    while connection.ask(&words.join(" ")).starts_with('-') {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes of all files below a directory that take room on the medium.
fn disk_used(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_used(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

/// Bytes of memory that no file stands behind, and open files, of a process.
fn resources(pid: u32) -> Option<(u64, usize)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some((kilobytes << 10, std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count()))
}

/// The most that was seen.
#[derive(Default)]
struct Peaks {
    disk: AtomicU64,
    memory: AtomicU64,
    descriptors: AtomicU64,
}

impl Peaks {
    fn look(&self, dir: &Path, pid: u32) {
        self.disk.fetch_max(disk_used(&dir.join("shard-0")), Ordering::Relaxed);
        if let Some((memory, descriptors)) = resources(pid) {
            self.memory.fetch_max(memory, Ordering::Relaxed);
            self.descriptors.fetch_max(descriptors as u64, Ordering::Relaxed);
        }
    }

    fn demand(&self, what: &str) {
        let [disk, memory, descriptors] = [&self.disk, &self.memory, &self.descriptors].map(|peak| peak.load(Ordering::Relaxed));
        println!("{what}: at most {disk} bytes of disk, {memory} bytes of memory, {descriptors} descriptors");
        assert!(disk <= MAXDISK, "{what}: {disk} bytes on disk");
        assert!(memory <= MEMORY, "{what}: {memory} bytes of anonymous memory");
        assert!(descriptors <= DESCRIPTORS as u64, "{what}: {descriptors} descriptors");
    }
}

#[test]
fn a_small_space_overwritten_many_times_holds_what_was_written() {
    let seed = std::env::var("ESKER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| now() % 1_000_000);
    println!("ESKER_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let limit = MAXDISK.to_string();
    let mut server = Server::with(&["--maxdisk", &limit, "--io-threads", "2", "--expiry-sweep-time", "2"]);
    let writer =
        |number| Writer { number, rng: StdRng::seed_from_u64(seed + number), held: BTreeMap::new(), doubtful: None, bytes: 0, refused: 0 };
    let mut writers: Vec<Writer> = (0..WRITERS).map(writer).collect();
    let (peaks, end) = (Peaks::default(), Instant::now() + lasting());
    let mut kills = 0;
    while Instant::now() < end {
        let (moment, port, pid) = (Duration::from_millis(rng.random_range(500..4000)), server.port(), server.pid());
        let (stop, dir) = (AtomicBool::new(false), server.dir().to_owned());
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| writer.run(port, &stop));
            }
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    peaks.look(&dir, pid);
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
            std::thread::sleep(moment);
            server.kill();
            stop.store(true, Ordering::Relaxed);
        });
        kills += 1;
        server.restart();
        let what = format!("seed {seed}, kill {kills}");
        writers.iter_mut().for_each(|writer| writer.check(&mut server.connect(), &what));
        peaks.demand(&what);
    }
    let (bytes, refused) = writers.iter().fold((0, 0), |sum, writer| (sum.0 + writer.bytes, sum.1 + writer.refused));
    println!("{kills} kills, {bytes} bytes written, {refused} writes refused, {}", server.connect().ask("INFO persistence"));
    assert!(server.terminate().success());
    let args = Args::try_parse_from(["esker-log", "--dir", server.dir().to_str().unwrap(), "verify"]).unwrap();
    let mut report = Vec::new();
    let outcome = run(&args, &mut report);
    assert!(matches!(outcome, Ok(Outcome::Sound)), "{outcome:?}: {}", String::from_utf8_lossy(&report));
    server.restart();
    writers.iter_mut().for_each(|writer| writer.check(&mut server.connect(), "after a clean stop"));
}
