//! Real files: copies of a live directory, the lock, and versions from the future.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::recovery::RestartKind;
use esker_storage::shard::{Shard, StorageError};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::history::History;
use super::support::*;

fn open_path(path: &Path) -> Result<Shard, StorageError> {
    let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open(path).unwrap());
    try_open(&directory)
}

/// As an operator would. A temporary file may vanish before `cp` comes to it: then it says so, and has copied the rest.
fn copy(from: &Path, to: &Path) {
    Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(to.join("shard-0/MANIFEST").exists());
}

#[test]
fn directory_copied_while_live_takes_the_power_loss_path() {
    let home = tempfile::tempdir().unwrap();
    let live = home.path().join("live");
    let shard = open_path(&live).unwrap();
    let history = History::default();
    let stop = AtomicBool::new(false);
    let copies: Vec<_> = (0..5).map(|number| home.path().join(format!("copy-{number}"))).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = StdRng::seed_from_u64(base_seed());
            // Within one segment: a copy that takes a segment early and what follows it late lacks what is in between.
            while !stop.load(Ordering::Relaxed) && shard.log().appended_bytes() < 800 << 10 {
                write_one(&shard, &history, &mut rng, Mix { large: false, ..MIX }).unwrap();
                std::thread::sleep(std::time::Duration::from_micros(100));
            }
        });
        copies.iter().for_each(|to| copy(&live, to));
        stop.store(true, Ordering::Relaxed);
    });
    for to in &copies {
        let copied = open_path(to).unwrap();
        assert!(matches!(copied.recovery_report().kind, RestartKind::PowerLoss { .. }), "{:?}", copied.recovery_report());
        check(&copied, &history, copied.recovery_report().flushed_lsn, &to.display().to_string());
    }
    shard.close().unwrap();
    drop(shard);
    // A clean directory that is copied: no index of it can be trusted either.
    let to = home.path().join("clean-copy");
    copy(&live, &to);
    let copied = open_path(&to).unwrap();
    assert!(matches!(copied.recovery_report().kind, RestartKind::PowerLoss { .. }));
    let last = check(&copied, &history, copied.recovery_report().flushed_lsn, "the clean copy");
    assert_eq!(last, copied.recovery_report().flushed_lsn);
}

#[test]
fn second_process_is_told_who_has_the_directory() {
    let home = tempfile::tempdir().unwrap();
    let shard = open_path(home.path()).unwrap();
    let error = open_path(home.path()).err().expect("opened twice");
    assert!(matches!(error, StorageError::Locked { .. }));
    let expected = format!("the data directory {} is in use by process {}", home.path().display(), std::process::id());
    assert_eq!(error.to_string().replace("/ is", " is"), expected);
    drop(shard);
    open_path(home.path()).unwrap();
}

#[test]
fn formats_from_the_future_are_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let made = open_path(home.path()).unwrap();
    set(&made, "key", b"value").unwrap();
    made.close().unwrap();
    drop(made);
    let shard = home.path().join("shard-0");
    let segment =
        std::fs::read_dir(&shard).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|e| e == "seg"));
    for path in [shard.join("MANIFEST"), segment.unwrap()] {
        let sound = std::fs::read(&path).unwrap();
        let mut future = sound.clone();
        future[8] = 2;
        std::fs::write(&path, &future).unwrap();
        // Without the index the segments are read.
        let _ = std::fs::remove_file(shard.join("index"));
        let error = open_path(home.path()).err().expect("opened");
        let text = error.to_string();
        assert!(matches!(error, StorageError::FutureVersion { found: 2, known: 1, .. }), "{text}");
        assert!(text.contains("has format version 2; this program knows version 1"), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), future);
        std::fs::write(&path, &sound).unwrap();
    }
    assert_eq!(get(&open_path(home.path()).unwrap(), "key").as_deref(), Some(&b"value"[..]));
}
