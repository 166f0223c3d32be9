//! Prints how long single writes take while the syncer flushes once a second beside them: median, p99, p99.9, p99.99 and the longest.
//! Once as fast as one thread can, and once at a steady pace, where a write that is late counts from when it was due.
//!
//! `cargo run --release -p esker-storage --example append_latency [seconds] [paced writes a second]`; the data goes to `TMPDIR`.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::options::Options;
use esker_storage::shard::{LockPlan, Shard};
use esker_storage::types::Db;

/// Keys that are written over and over.
const KEYS: u64 = 1_000_000;
const VALUE: [u8; 100] = [b'v'; 100];
/// Writes that share one reading of the wall clock, as those of a pipeline do.
const BATCH: u64 = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let pace: u64 = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let path = tempfile::tempdir()?;
    let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open(path.path())?);
    let shard = Shard::open(&directory, Options::default())?;
    for number in 0..KEYS {
        put(&shard, &shard.batch(), number)?;
    }
    println!("| 100-byte values over {KEYS} keys | writes/s | p50 µs | p99 µs | p99.9 µs | p99.99 µs | longest µs |");
    println!("|---|---|---|---|---|---|---|");
    let time = Duration::from_secs(seconds);
    print("as fast as one thread can", time, measure(&shard, time, None)?);
    print("at a steady pace", time, measure(&shard, time, Some(Duration::from_secs(1) / u32::try_from(pace)?))?);
    Ok(())
}

fn put(shard: &Shard, batch: &esker_storage::shard::Batch, number: u64) -> Result<(), Box<dyn Error>> {
    let name = format!("key:{:012}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS);
    let key = shard.key(name.as_bytes());
    let mut plan = LockPlan::exclusive();
    plan.add(&key);
    let mut transaction = shard.begin(batch, &plan);
    transaction.put(Db(0), &key, &VALUE, None)?;
    transaction.commit()?;
    Ok(())
}

/// Nanoseconds of each write.
fn measure(shard: &Shard, time: Duration, pause: Option<Duration>) -> Result<Vec<u32>, Box<dyn Error>> {
    let mut times = Vec::new();
    let start = Instant::now();
    let mut due = start;
    let mut batch = shard.batch();
    let mut number = 0;
    while start.elapsed() < time {
        if number % BATCH == 0 {
            batch = shard.batch();
        }
        match pause {
            Some(pause) => {
                due += pause;
                while Instant::now() < due {
                    std::hint::spin_loop();
                }
            }
            None => due = Instant::now(),
        }
        put(shard, &batch, number)?;
        times.push(u32::try_from(due.elapsed().as_nanos()).unwrap_or(u32::MAX));
        number += 1;
    }
    Ok(times)
}

fn print(name: &str, time: Duration, mut times: Vec<u32>) {
    times.sort_unstable();
    let micros = |share: f64| f64::from(times[((times.len() - 1) as f64 * share) as usize]) / 1000.0;
    let rate = times.len() as f64 / time.as_secs_f64();
    let [p50, p99, p999, p9999, most] = [0.5, 0.99, 0.999, 0.9999, 1.0].map(micros);
    println!("| {name} | {rate:.0} | {p50:.2} | {p99:.2} | {p999:.2} | {p9999:.1} | {most:.0} |");
}
