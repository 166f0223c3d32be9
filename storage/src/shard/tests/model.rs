//! Random operations against a map, with every kind of restart among them.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::fs::FaultyDirectory;

/// The data as it should be.
type Model = BTreeMap<(u8, String), (Vec<u8>, Option<i64>)>;

#[test]
fn random_operations_and_restarts_agree_with_a_map() {
    for seed in 0..12 {
        println!("seed {seed}");
        run_seed(seed, 1_500);
    }
}

fn run_seed(seed: u64, steps: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut files = FaultyDirectory::new();
    let mut model = Model::new();
    let mut shard = Some(open(&files.directory()));
    for step in 0..steps {
        let current = shard.as_ref().unwrap();
        match rng.random_range(0..1000) {
            0..4 => {
                current.close().unwrap();
                drop(shard.take());
                shard = Some(open(&files.directory()));
            }
            4..8 => {
                shard.take().unwrap().abandon();
                files = files.kill().unwrap();
                shard = Some(open(&files.directory()));
            }
            8..11 => {
                current.flush_log().unwrap();
                shard.take().unwrap().abandon();
                files = files.power_loss(rng.random()).unwrap();
                shard = Some(open(&files.directory()));
            }
            11..14 => drop(current.checkpoint().unwrap()),
            _ => operate(current, &mut model, &mut rng),
        }
        if step % 250 == 0 {
            compare(shard.as_ref().unwrap(), &model, seed, step);
        }
    }
    compare(shard.as_ref().unwrap(), &model, seed, steps);
}

fn operate(shard: &Shard, model: &mut Model, rng: &mut StdRng) {
    let db = rng.random_range(0..3);
    let name = format!("k{}", rng.random_range(0..60));
    let len = if rng.random_bool(0.02) { 300_000 } else { rng.random_range(0..3_000) };
    let value: Vec<u8> = (0..len).map(|_| rng.random()).collect();
    let key = shard.key(name.as_bytes());
    let id = (db, name.clone());
    match rng.random_range(0..100) {
        0..45 => {
            let expire = rng.random_bool(0.2).then_some(i64::MAX / 2);
            run(shard, |txn| txn.put(Db(db), &key, &value, expire.map(UnixMillis))).unwrap();
            model.insert(id, (value, expire));
        }
        45..60 => {
            assert_eq!(run(shard, |txn| txn.delete(Db(db), &key)).unwrap(), model.remove(&id).is_some());
        }
        60..80 => {
            let offset = rng.random_range(0..4_000);
            run(shard, |txn| txn.write_range(Db(db), &key, offset, &value[..value.len().min(50)])).unwrap();
            let (old, _) = model.entry(id).or_default();
            let end = offset as usize + value.len().min(50);
            old.resize(old.len().max(end), 0);
            old[offset as usize..end].copy_from_slice(&value[..value.len().min(50)]);
        }
        80..90 => {
            let expire = rng.random_bool(0.5).then_some(i64::MAX / 3);
            let there = run(shard, |txn| txn.set_expire(Db(db), &key, expire.map(UnixMillis))).unwrap();
            assert_eq!(there, model.contains_key(&id));
            if let Some(entry) = model.get_mut(&id) {
                entry.1 = expire;
            }
        }
        90..98 => multi(shard, model, rng),
        98 => {
            run(shard, |txn| txn.flush(Db(db))).unwrap();
            model.retain(|(d, _), _| *d != db);
        }
        _ => {
            let other = rng.random_range(0..3);
            run(shard, |txn| txn.swap(Db(db), Db(other))).unwrap();
            let swapped = |d| {
                if d == db {
                    other
                } else if d == other {
                    db
                } else {
                    d
                }
            };
            *model = std::mem::take(model).into_iter().map(|((d, k), v)| ((swapped(d), k), v)).collect();
        }
    }
}

fn multi(shard: &Shard, model: &mut Model, rng: &mut StdRng) {
    let names: Vec<String> = (0..rng.random_range(2..30)).map(|_| format!("k{}", rng.random_range(0..60))).collect();
    let flush = rng.random_bool(0.1);
    run(shard, |txn| {
        for (n, name) in names.iter().enumerate() {
            let key = shard.key(name.as_bytes());
            match n % 3 {
                0 => txn.put(Db(0), &key, name.as_bytes(), None)?,
                1 => drop(txn.delete(Db(0), &key)?),
                _ => drop(txn.write_range(Db(0), &key, 3, b"xyz")?),
            }
            if flush && n == names.len() / 2 {
                txn.flush(Db(0))?;
            }
        }
        Ok(())
    })
    .unwrap();
    for (n, name) in names.iter().enumerate() {
        let id = (0, name.clone());
        match n % 3 {
            0 => drop(model.insert(id, (name.clone().into_bytes(), None))),
            1 => drop(model.remove(&id)),
            _ => {
                let (value, _) = model.entry(id).or_default();
                value.resize(value.len().max(6), 0);
                value[3..6].copy_from_slice(b"xyz");
            }
        }
        if flush && n == names.len() / 2 {
            model.retain(|(d, _), _| *d != 0);
        }
    }
}

fn compare(shard: &Shard, model: &Model, seed: u64, step: usize) {
    for db in 0..3 {
        let (count, expires, listed) = run(shard, |txn| {
            let mut listed = 0;
            let mut cursor = 0;
            loop {
                cursor = txn.scan(Db(db), cursor, 7, &mut |_, _| listed += 1)?;
                if cursor == 0 {
                    return Ok((txn.key_count(Db(db)), txn.expires_count(Db(db)), listed));
                }
            }
        })
        .unwrap();
        let of_db = || model.iter().filter(|((d, _), _)| *d == db);
        assert_eq!(count, of_db().count() as u64, "seed {seed} step {step} db {db}: keys");
        assert_eq!(listed, count, "seed {seed} step {step} db {db}: scan");
        assert_eq!(expires, of_db().filter(|(_, v)| v.1.is_some()).count() as u64, "seed {seed} step {step} db {db}: expires");
    }
    for ((db, name), (value, expire)) in model {
        let found = run(shard, |txn| {
            let object = txn.get(Db(*db), &shard.key(name.as_bytes()))?;
            Ok(object.map(|o| (o.data.into_owned(), o.expire_at.map(|at| at.0))))
        });
        assert_eq!(found.unwrap(), Some((value.clone(), *expire)), "seed {seed} step {step} db {db} key {name}");
    }
}
