//! What is written is read, and read again after each kind of restart.

use super::*;
use crate::fs::{FaultyDirectory, MemoryDirectory};
use crate::recovery::RestartKind;

#[test]
fn values_survive_a_clean_stop() {
    let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let shard = open(&directory);
    assert_eq!(shard.recovery_report().kind, RestartKind::Fresh);
    for n in 0..20_000 {
        set(&shard, &format!("key:{n}"), format!("value {n}").repeat(10).as_bytes());
    }
    assert!(del(&shard, "key:7"));
    assert!(!del(&shard, "key:7"));
    shard.close().unwrap();
    drop(shard);
    let shard = open(&directory);
    assert_eq!(shard.recovery_report().kind, RestartKind::Clean, "{:?}", shard.recovery_report());
    assert_eq!(shard.recovery_report().keys, 19_999);
    for n in 0..20_000 {
        let expected = (n != 7).then(|| format!("value {n}").repeat(10).into_bytes());
        assert_eq!(get(&shard, &format!("key:{n}")), expected, "key:{n}");
    }
}

#[test]
fn values_survive_a_kill_at_once() {
    let faulty = FaultyDirectory::new();
    let shard = open(&faulty.directory());
    for n in 0..3_000 {
        set(&shard, &format!("key:{}", n % 1000), format!("value {n}").repeat(20).as_bytes());
    }
    shard.abandon();
    let after = faulty.kill().unwrap();
    let shard = open(&after.directory());
    assert_eq!(shard.recovery_report().kind, RestartKind::Crash, "{:?}", shard.recovery_report());
    for n in 2_000..3_000 {
        assert_eq!(get(&shard, &format!("key:{}", n % 1000)), Some(format!("value {n}").repeat(20).into_bytes()));
    }
    assert_eq!(shard.recovery_report().keys, 1000);
}

#[test]
fn a_copied_directory_takes_the_power_loss_path() {
    let faulty = FaultyDirectory::new();
    let shard = open(&faulty.directory());
    for n in 0..2_000 {
        set(&shard, &format!("key:{n}"), &[b'x'; 700]);
    }
    shard.checkpoint().unwrap();
    for n in 1_000..3_000 {
        set(&shard, &format!("key:{n}"), &[b'y'; 100]);
    }
    del(&shard, "key:0");
    shard.flush_log().unwrap();
    shard.abandon();
    let after = faulty.power_loss(1).unwrap();
    let shard = open(&after.directory());
    let report = shard.recovery_report();
    assert!(matches!(report.kind, RestartKind::PowerLoss { .. }), "{report:?}");
    assert_eq!(report.keys, 2_999, "{report:?}");
    assert_eq!(report.keys_from_checkpoint, 2_000);
    assert_eq!(get(&shard, "key:0"), None);
    assert_eq!(get(&shard, "key:999").unwrap(), [b'x'; 700]);
    assert_eq!(get(&shard, "key:1000").unwrap(), [b'y'; 100]);
}

#[test]
fn flush_and_swap_survive_restarts() {
    let faulty = FaultyDirectory::new();
    let shard = open(&faulty.directory());
    set(&shard, "a", b"1");
    run(&shard, |txn| txn.put(Db(1), &shard.key(b"b"), b"2", None)).unwrap();
    run(&shard, |txn| txn.swap(Db(0), Db(1))).unwrap();
    assert_eq!(get(&shard, "b").as_deref(), Some(&b"2"[..]));
    run(&shard, |txn| {
        txn.put(Db(0), &shard.key(b"gone"), b"x", None)?;
        txn.flush_all()?;
        txn.put(Db(0), &shard.key(b"c"), b"3", None)?;
        assert_eq!(txn.key_count(Db(0)), 1);
        txn.flush(Db(0))?;
        assert_eq!(txn.key_count(Db(0)), 0);
        txn.put(Db(0), &shard.key(b"d"), b"4", None)
    })
    .unwrap();
    let check = |shard: &Shard| {
        for key in ["a", "b", "c", "gone"] {
            assert_eq!(get(shard, key), None, "{key}");
        }
        assert_eq!(get(shard, "d").as_deref(), Some(&b"4"[..]));
        assert_eq!(run(shard, |txn| Ok((txn.key_count(Db(0)), txn.key_count(Db(1))))).unwrap(), (1, 0));
    };
    check(&shard);
    shard.flush_log().unwrap();
    shard.abandon();
    check(&open(&faulty.kill().unwrap().directory()));
    check(&open(&faulty.power_loss(3).unwrap().directory()));
}

#[test]
fn a_rolled_back_part_of_a_transaction_leaves_no_trace() {
    let shard = Shard::temporary();
    run(&shard, |txn| {
        for n in 0..40 {
            txn.put(Db(0), &shard.key(format!("{n}").as_bytes()), b"kept", None)?;
        }
        let savepoint = txn.savepoint();
        txn.put(Db(0), &shard.key(b"5"), b"not kept", None)?;
        txn.delete(Db(0), &shard.key(b"6"))?;
        txn.flush(Db(0))?;
        txn.rollback(savepoint);
        Ok(())
    })
    .unwrap();
    assert_eq!(get(&shard, "5").as_deref(), Some(&b"kept"[..]));
    assert_eq!(get(&shard, "6").as_deref(), Some(&b"kept"[..]));
}

#[test]
fn scan_returns_every_key_present_throughout() {
    let shard = Shard::temporary();
    for n in 0..5_000 {
        set(&shard, &format!("stay:{n}"), b"v");
    }
    let mut seen = std::collections::HashSet::new();
    let mut cursor = 0;
    let mut round = 0;
    loop {
        cursor = run(&shard, |txn| {
            let mut keys = Vec::new();
            let next = txn.scan(Db(0), cursor, 10, &mut |key, _| keys.push(key.to_vec()))?;
            Ok((next, keys))
        })
        .map(|(next, keys)| {
            seen.extend(keys);
            next
        })
        .unwrap();
        if cursor == 0 {
            break;
        }
        for n in 0..20 {
            set(&shard, &format!("new:{round}:{n}"), b"v");
        }
        round += 1;
    }
    for n in 0..5_000 {
        assert!(seen.contains(format!("stay:{n}").as_bytes()), "stay:{n}");
    }
}
