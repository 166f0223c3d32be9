//! Large strings: deltas, value segments, cold reads.

use super::*;
use crate::fs::FaultyDirectory;

#[test]
fn small_writes_to_a_large_string_log_little() {
    let faulty = FaultyDirectory::new();
    let shard = open(&faulty.directory());
    let mut expected = vec![7; 100_000];
    set(&shard, "big", &expected);
    let before = shard.log().appended_bytes();
    for n in 0..200_usize {
        let offset = n * 499;
        run(&shard, |txn| txn.write_range(Db(0), &shard.key(b"big"), offset as u64, &[n as u8; 3])).unwrap();
        expected[offset..offset + 3].fill(n as u8);
        if n % 50 == 0 {
            assert_eq!(get(&shard, "big").as_ref(), Some(&expected), "after {n}");
        }
    }
    assert!(shard.log().appended_bytes() - before < 200 * 250, "deltas are small");
    run(&shard, |txn| txn.set_expire(Db(0), &shard.key(b"big"), Some(UnixMillis(i64::MAX)))).unwrap();
    let len = run(&shard, |txn| txn.write_range(Db(0), &shard.key(b"big"), 150_000, b"end")).unwrap();
    assert_eq!(len, 150_003);
    expected.resize(150_000, 0);
    expected.extend(b"end");
    assert_eq!(get(&shard, "big").as_ref(), Some(&expected));
    let range = run(&shard, |txn| Ok(txn.get_range(Db(0), &shard.key(b"big"), 149_999, 10)?.unwrap().into_owned())).unwrap();
    assert_eq!(range, b"\0end");
    shard.flush_log().unwrap();
    shard.abandon();
    for after in [faulty.kill().unwrap(), faulty.power_loss(5).unwrap()] {
        after.set_cold(true);
        let shard = open(&after.directory());
        assert_eq!(get(&shard, "big").as_ref(), Some(&expected));
    }
}

#[test]
fn values_above_the_threshold_get_their_own_segment() {
    let faulty = FaultyDirectory::new();
    let shard = open(&faulty.directory());
    let value: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    set(&shard, "huge", &value);
    assert_eq!(get(&shard, "huge").as_ref(), Some(&value));
    let range = run(&shard, |txn| Ok(txn.get_range(Db(0), &shard.key(b"huge"), 65_530, 12)?.unwrap().into_owned())).unwrap();
    assert_eq!(range, value[65_530..65_542]);
    shard.flush_log().unwrap();
    shard.abandon();
    for after in [faulty.kill().unwrap(), faulty.power_loss(2).unwrap()] {
        let shard = open(&after.directory());
        assert_eq!(get(&shard, "huge").as_ref(), Some(&value));
        assert_eq!(shard.recovery_report().values_removed, 0);
    }
}

#[test]
fn an_entry_larger_than_a_segment_is_refused_and_changes_nothing() {
    let shard = Shard::open(&(Arc::new(crate::fs::MemoryDirectory::new()) as Arc<dyn Directory>), options(SyncMode::No)).unwrap();
    let result = run(&shard, |txn| {
        for n in 0..10 {
            txn.put(Db(0), &shard.key(format!("{n}").as_bytes()), &[1; 200_000], None)?;
        }
        Ok(())
    });
    assert!(matches!(result, Err(StorageError::EntryTooLarge { .. })), "{result:?}");
    assert_eq!(get(&shard, "0"), None);
}
