#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use super::*;

#[test]
fn handles_and_maps_share_one_cache() {
    let directory = MemoryDirectory::new();
    let file = directory.create("a").unwrap();
    file.allocate(0, 8192).unwrap();
    let (one, other) = (file.map(1 << 30).unwrap(), directory.open("a").unwrap().map(8192).unwrap());
    assert!(Arc::ptr_eq(&one, &other));
    one.copy_in(5000, b"hello");
    let mut buf = [0; 5];
    file.try_clone().unwrap().read_at(5000, &mut buf).unwrap();
    assert_eq!(&buf, b"hello");
    file.write_at(8190, b"xyz").unwrap();
    assert_eq!(file.len().unwrap(), 8193);
    other.copy_out(8190, &mut buf[..3]);
    assert_eq!(&buf[..3], b"xyz");
}

#[test]
fn reads_stop_at_the_end_of_the_file() {
    let directory = MemoryDirectory::new();
    let file = directory.create("a").unwrap();
    file.write_at(2, b"abc").unwrap();
    let mut buf = [9; 8];
    assert_eq!(file.read_at_nowait(3, &mut buf).unwrap(), Some(2));
    assert_eq!(&buf[..3], b"bc\x09");
    assert_eq!(file.read_at(0, &mut buf).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(file.read_at_nowait(u64::MAX, &mut buf).unwrap(), Some(0));
    assert!(file.set_len(u64::MAX).is_err() && file.allocate(u64::MAX, 2).is_err());
}

#[test]
fn bytes_cut_off_read_as_zero_when_the_file_grows_again() {
    let file = MemoryDirectory::new().create("a").unwrap();
    file.write_at(0, &[1; 10_000]).unwrap();
    file.set_len(5).unwrap();
    file.set_len(10_000).unwrap();
    file.zero_range(0, 2).unwrap();
    let mut buf = [7; 10_000];
    file.read_at(0, &mut buf).unwrap();
    assert_eq!(&buf[..6], &[0, 0, 1, 1, 1, 0]);
    assert!(buf[5..].iter().all(|byte| *byte == 0));
}

#[test]
fn names_behave_as_in_a_real_directory() {
    let directory = MemoryDirectory::new();
    let file = directory.create("a").unwrap();
    file.write_at(0, b"x").unwrap();
    let identity = directory.identity("a").unwrap();
    directory.rename("a", "b").unwrap();
    assert_eq!(directory.identity("b").unwrap(), identity);
    assert_eq!(directory.list().unwrap(), ["b"]);
    assert_eq!(directory.open("a").err().unwrap().kind(), io::ErrorKind::NotFound);
    assert_eq!(directory.remove("a").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(directory.open_read_only("b").unwrap().write_at(0, b"y").is_err());
    directory.remove("b").unwrap();
    assert_eq!(file.len().unwrap(), 1);
    let inner = directory.subdirectory("inner").unwrap();
    inner.create("c").unwrap();
    assert!(directory.subdirectory("inner").unwrap().exists("c").unwrap());
    assert_eq!(inner.path("c"), PathBuf::from("/memory/inner/c"));
    assert!(directory.list().unwrap().is_empty());
}

#[test]
fn second_lock_names_the_holder() {
    let directory = MemoryDirectory::new();
    let held = directory.lock("LOCK").unwrap();
    let error = directory.lock("LOCK").unwrap_err();
    assert_eq!(error.get_ref().unwrap().downcast_ref::<LockHeld>().unwrap().pid, Some(std::process::id()));
    drop(held);
    assert!(directory.lock("LOCK").is_ok());
}
