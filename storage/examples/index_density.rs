//! Prints bytes a key and nanoseconds an operation of the index at 40 counts from 1 to 10 million keys, with the keys spread
//! over all slots and with all of them in one slot. Fails if the index takes more than 24 bytes a key at any of them.
//!
//! `cargo run --release -p esker-storage --example index_density [millions]`

use std::convert::Infallible;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use esker_storage::fs::RealDirectory;
use esker_storage::index::{CounterChange, Index, StoredCell, TableSlot};
use esker_storage::types::{KeyHash, Location, Slot};

/// Counts at which the table is printed.
const COUNTS: u64 = 40;
/// Bytes a key that the index may take at every count; more is a failure.
const BOUND: f64 = 24.0;
/// Keys read and changed at each count.
const SAMPLE: u64 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let millions: u64 = std::env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    for (name, slots) in [("all slots", 16384), ("one slot", 1)] {
        println!("{name}\n      keys  used B/key  file B/key  add ns  get ns  set ns  longest add µs");
        let (used, file) = fill(slots, millions * 1_000_000)?;
        println!("most from a million keys on: used {used:.2}, file {file:.2} bytes a key\n");
        if file > BOUND {
            return Err(format!("{name}: {file:.2} bytes a key, more than {BOUND}").into());
        }
    }
    load(millions * 1_000_000)
}

/// splitmix64: key number to hash.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn slot(number: u64, slots: u64) -> Slot {
    Slot((mix(!number) % slots) as u16)
}

fn table() -> TableSlot {
    TableSlot::new(0).unwrap_or_else(|| unreachable!("slot 0 exists"))
}

fn create(path: &std::path::Path) -> Result<Index, Box<dyn Error>> {
    Ok(Index::create(&RealDirectory::open(path)?, "index", 4 << 30)?)
}

/// Adds keys one by one and prints a line at each count. Returns the most bytes a key, in use and of the file.
fn fill(slots: u64, keys: u64) -> Result<(f64, f64), Box<dyn Error>> {
    let path = tempfile::tempdir()?;
    let index = create(path.path())?;
    let step = (keys - keys / 10) / (COUNTS - 1);
    let (mut most_used, mut most_file) = (0.0_f64, 0.0_f64);
    let mut number = 0;
    let mut count = keys / 10;
    while count <= keys {
        let first = number;
        let start = Instant::now();
        let mut longest = Duration::ZERO;
        while number < count {
            let batch = Instant::now();
            for _ in 0..64 {
                add(&index, number, slots)?;
                number += 1;
            }
            longest = longest.max(batch.elapsed());
        }
        let add = start.elapsed().as_nanos() as f64 / (number - first) as f64;
        let (get, set) = sample(&index, slots, number)?;
        let (used, file) = (index.bytes_used() as f64 / number as f64, index.file_bytes() as f64 / number as f64);
        // Below a million keys the headers weigh more, and no bound is promised.
        if number >= 1_000_000 {
            (most_used, most_file) = (most_used.max(used), most_file.max(file));
        }
        let longest = longest.as_nanos() as f64 / 1000.0;
        println!("{number:>10}  {used:>10.2}  {file:>10.2}  {add:>6.0}  {get:>6.0}  {set:>6.0}  {longest:>14.0}");
        count += step;
    }
    Ok((most_used, most_file))
}

fn add(index: &Index, number: u64, slots: u64) -> Result<(), Box<dyn Error>> {
    let (hash, slot) = (KeyHash(mix(number)), slot(number, slots));
    let change = CounterChange { keys: 1, bytes: 100, digest: u128::from(hash.0), ..CounterChange::default() };
    let mut stripe = index.stripe(slot.stripe()).write();
    let found = stripe.lookup::<Infallible>(index, table(), hash, |_| Ok(false))?;
    stripe.put(index, table(), hash, slot, found, Location::from_bits(number + 1), &change)?;
    Ok(())
}

/// Nanoseconds of a lookup, and of a lookup with an overwrite, of random keys. Includes the stripe's lock.
fn sample(index: &Index, slots: u64, keys: u64) -> Result<(f64, f64), Box<dyn Error>> {
    let random = |round: u64| mix(round ^ keys << 32) % keys;
    let start = Instant::now();
    for round in 0..SAMPLE {
        let number = random(round);
        let (hash, slot) = (KeyHash(mix(number)), slot(number, slots));
        let stripe = index.stripe(slot.stripe()).read();
        black_box(stripe.lookup::<Infallible>(index, table(), hash, |at| Ok(at.bits() == number + 1))?);
    }
    let get = start.elapsed().as_nanos() as f64 / SAMPLE as f64;
    let start = Instant::now();
    for round in 0..SAMPLE {
        let number = random(round + SAMPLE);
        let (hash, slot) = (KeyHash(mix(number)), slot(number, slots));
        let change = CounterChange { bytes: 1, digest: u128::from(round), ..CounterChange::default() };
        let location = Location::from_bits(number + 1);
        let mut stripe = index.stripe(slot.stripe()).write();
        let at = stripe.lookup::<Infallible>(index, table(), hash, |at| Ok(at == location))?;
        stripe.put(index, table(), hash, slot, at, location, &change)?;
    }
    Ok((get, start.elapsed().as_nanos() as f64 / SAMPLE as f64))
}

/// How fast cells are loaded from a checkpoint.
fn load(keys: u64) -> Result<(), Box<dyn Error>> {
    for slots in [16384, 64] {
        let path = tempfile::tempdir()?;
        let copy_path = tempfile::tempdir()?;
        let (index, copy) = (create(path.path())?, create(copy_path.path())?);
        for number in 0..keys {
            add(&index, number, slots)?;
        }
        let (mut copying, mut loading) = (Duration::ZERO, Duration::ZERO);
        let mut piece: Vec<StoredCell> = Vec::new();
        for number in 0..256 {
            let from = index.stripe(number).read();
            copy.stripe(number).write().prepare(&copy, table(), from.table_keys(&index, table()))?;
            let mut cursor = Some(0);
            while let Some(at) = cursor {
                piece.clear();
                let start = Instant::now();
                cursor = from.copy_piece(&index, table(), at, 64 << 10, &mut piece);
                copying += start.elapsed();
                let start = Instant::now();
                copy.stripe(number).write().load_cells(&copy, table(), &piece)?;
                loading += start.elapsed();
            }
        }
        let rate = |time: Duration| keys as f64 / time.as_secs_f64() / 1e6;
        println!("{slots} slots: {:.0} million cells/s copied, {:.0} million loaded", rate(copying), rate(loading));
    }
    Ok(())
}
