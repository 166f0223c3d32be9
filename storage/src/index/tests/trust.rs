//! Which index files are used as they are found.

use super::*;

fn reason(bench: &mut Bench, surroundings: &Surroundings) -> Option<Distrust> {
    bench.index = None;
    match Index::open(bench.directory.as_ref(), "index", 2 * GIB, surroundings).unwrap() {
        Opened::Trusted(_) => None,
        Opened::Untrusted(why) => Some(why),
    }
}

#[test]
fn only_the_same_surroundings_are_trusted() {
    let mut bench = Bench::real();
    assert!(bench.path.is_some());
    let right = surroundings();
    let other = FileIdentity { inode: 4, ..right.manifest };
    assert_eq!(reason(&mut bench, &right), None);
    assert_eq!(reason(&mut bench, &Surroundings { boot_id: [8; 16], ..right }), Some(Distrust::Boot));
    assert_eq!(reason(&mut bench, &Surroundings { key_hash_seed: 1, ..right }), Some(Distrust::Seed));
    let manifest = Some(Distrust::Identity("the manifest"));
    assert_eq!(reason(&mut bench, &Surroundings { manifest: other, ..right }), manifest);
}

#[test]
fn a_manifest_about_to_be_renamed_is_trusted_like_the_old_one() {
    let mut bench = Bench::new();
    let right = surroundings();
    let next = FileIdentity { inode: 4, ..right.manifest };
    bench.index().expect_manifest(right.manifest, next);
    assert_eq!(reason(&mut bench, &right), None);
    assert_eq!(reason(&mut bench, &Surroundings { manifest: next, ..right }), None);
}

#[test]
fn a_copied_index_is_not_trusted() {
    let bench = Bench::real();
    let path = bench.directory.path("index");
    let directory = path.parent().unwrap().to_owned();
    std::fs::copy(&path, directory.join("copy")).unwrap();
    std::fs::rename(directory.join("copy"), &path).unwrap();
    let mut bench = bench;
    assert_eq!(reason(&mut bench, &surroundings()), Some(Distrust::Identity("the index")));
}

#[test]
fn an_index_that_was_not_finished_is_not_trusted() {
    let mut bench = Bench::new();
    bench.index().distrust();
    assert_eq!(bench.index().trusted(), None);
    assert_eq!(reason(&mut bench, &surroundings()), Some(Distrust::Incomplete));
}

#[test]
fn files_that_are_no_index_are_not_trusted() {
    let mut bench = Bench::real();
    let path = bench.directory.path("index");
    std::fs::write(&path, [1; 100]).unwrap();
    assert_eq!(reason(&mut bench, &surroundings()), Some(Distrust::NotAnIndex));
    std::fs::write(&path, vec![1; 3 << 20]).unwrap();
    assert_eq!(reason(&mut bench, &surroundings()), Some(Distrust::NotAnIndex));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(reason(&mut bench, &surroundings()), Some(Distrust::Missing));
}

#[test]
fn broken_structure_is_damage_and_not_a_panic() {
    // Every word of the root and of the inline entry is overwritten, one at a time.
    for word in 0..8 {
        for value in [u64::MAX, 1 << 63 | 77, 1 << 63 | 40 << 32, 0x0101_0101_0101_0101] {
            let mut bench = Bench::new();
            for number in 0..300 {
                insert(bench.index(), table(0), TestKey::new(number, 1), location(number + 1));
            }
            bench.index().pages.set_word(stripe_at(0) + ROOTS_AT + 8 * word, value);
            match reason(&mut bench, &surroundings()) {
                None | Some(Distrust::Damaged { stripe: 0, .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn the_clean_mark_and_the_replay_position_survive() {
    let mut bench = Bench::new();
    assert!(!bench.index().is_clean());
    assert_eq!(bench.index().replay_position(), ReplayPosition::default());
    let position = ReplayPosition { lsn: Lsn(u64::MAX), segment: crate::types::SegmentId(9), offset: 1 << 29 };
    bench.index().set_replay_position(position);
    bench.index().set_clean(true);
    bench.reopen();
    assert!(bench.index().is_clean());
    assert_eq!(bench.index().replay_position(), position);
    assert_eq!(bench.index().repairs(), (0, 0));
}
