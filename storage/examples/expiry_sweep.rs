//! Prints what the sweep for expired keys costs: of keys none of which has expired, of keys all of which have, and as the thread runs it.
//! Fails if the thread takes more than 1 % of a core, or if two sweeps do not give the index its room back.
//!
//! `cargo run --release -p esker-storage --example expiry_sweep [millions]`

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use esker_storage::clock::Clock;
use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::options::Options;
use esker_storage::shard::{LockPlan, Shard};
use esker_storage::types::{Db, UnixMillis};

/// Share of a core that the thread may take.
const BOUND: f64 = 0.01;
/// How long the thread is watched.
const WATCHED: Duration = Duration::from_secs(20);
/// Keys expire at random times in a span of this many milliseconds, which begins later than anything that is measured.
const SPAN: u64 = 1_000_000;
const NOW: i64 = 1_000_000;
const FIRST: i64 = NOW + 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let millions: u64 = std::env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let path = tempfile::tempdir()?;
    let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open(path.path())?);
    let now = Arc::new(AtomicI64::new(NOW));
    let options = Options { clock: Clock::Manual(Arc::clone(&now)), checkpoint_bytes: u64::MAX, ..Options::default() };
    let sweep_time = options.expiry_sweep_time;
    let shard = Shard::open(&directory, options)?;
    shard.set_active_expiry(false);
    let empty = shard.index().bytes_used();
    fill(&shard, millions * 1_000_000)?;
    let full = shard.index().bytes_used();
    for what in ["none expired", "none expired", "none expired"] {
        sweep(&shard, what)?;
    }
    let share = watch(&shard, sweep_time)?;
    now.store(FIRST + SPAN as i64 / 2, Ordering::Relaxed);
    sweep(&shard, "half of them expired")?;
    now.store(FIRST + SPAN as i64, Ordering::Relaxed);
    sweep(&shard, "the rest expired")?;
    let after = shard.index().bytes_used();
    println!("index: {:.1} MB empty, {:.1} MB full, {:.1} MB after two sweeps", mb(empty), mb(full), mb(after));
    if share > BOUND {
        return Err(format!("the thread takes {:.2} % of a core", share * 100.0).into());
    }
    // The tables themselves stay: directories, a page of counters and one of cells in each stripe.
    if mb(after) - mb(empty) > 0.05 * (mb(full) - mb(empty)) {
        return Err("two sweeps did not give the room back".into());
    }
    Ok(())
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// splitmix64: key number to time.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn fill(shard: &Shard, keys: u64) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let batch = shard.batch();
    for number in 0..keys {
        let name = format!("key:{number:012}");
        let key = shard.key(name.as_bytes());
        let mut plan = LockPlan::exclusive();
        plan.add(&key);
        let mut transaction = shard.begin(&batch, &plan);
        transaction.put(Db(0), &key, &[b'v'; 32], Some(UnixMillis(FIRST + (mix(number) % SPAN) as i64)))?;
        transaction.commit()?;
    }
    println!("{keys} keys with random expiries written in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn sweep(shard: &Shard, what: &str) -> Result<(), Box<dyn Error>> {
    let (started, before) = (Instant::now(), cpu_nanos("/proc/thread-self")?);
    let swept = shard.sweep()?;
    let (took, cpu) = (started.elapsed(), cpu_nanos("/proc/thread-self")? - before);
    println!(
        "{what}: {} keys looked at, {} removed in {:.2} s, {:.0} ns of CPU a key",
        swept.seen,
        swept.removed,
        took.as_secs_f64(),
        cpu as f64 / swept.seen.max(1) as f64
    );
    Ok(())
}

/// CPU time of a thread.
fn cpu_nanos(thread: &str) -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string(format!("{thread}/schedstat"))?;
    Ok(text.split_ascii_whitespace().next().ok_or("an empty schedstat")?.parse()?)
}

/// Where the kernel tells of the thread that sweeps.
fn sweeping_thread() -> Result<String, Box<dyn Error>> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if std::fs::read_to_string(path.join("comm"))?.trim() == "esker-expiry" {
            return Ok(path.display().to_string());
        }
    }
    Err("there is no such thread".into())
}

/// The share of a core that the thread takes at its own pace.
fn watch(shard: &Shard, sweep_time: Duration) -> Result<f64, Box<dyn Error>> {
    let thread = sweeping_thread()?;
    shard.set_active_expiry(true);
    let (before, started) = (cpu_nanos(&thread)?, Instant::now());
    std::thread::sleep(WATCHED);
    let (after, elapsed) = (cpu_nanos(&thread)?, started.elapsed());
    shard.set_active_expiry(false);
    let share = (after - before) as f64 / elapsed.as_nanos() as f64;
    println!("the thread, every key in {sweep_time:?}: {:.2} % of a core over {:.0} s", share * 100.0, elapsed.as_secs_f64());
    Ok(share)
}
