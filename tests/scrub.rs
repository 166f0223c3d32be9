//! Scrub through the real program: damage to a file that nobody reads is told of.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use common::{Connection, Server, eventually};

fn info(connection: &mut Connection, name: &str) -> String {
    connection.info("persistence", name).unwrap()
}

fn oldest_segment(server: &Server) -> PathBuf {
    let files = fs::read_dir(server.dir().join("shard-0")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).min().unwrap()
}

#[test]
fn a_damaged_segment_is_told_of_with_its_place() {
    let server = Server::with(&["--segment-size", "1mb", "--scrub-period", "0"]);
    let mut c = server.connect();
    let value = vec![b'x'; 10_000];
    for n in 0..300 {
        c.send(&[b"SET", format!("key:{n}").as_bytes(), &value]);
        assert_eq!(c.reply(), "+OK|");
    }
    assert_eq!(info(&mut c, "scrub_passes"), "0");
    assert_eq!(c.ask("CONFIG SET scrub-period 1"), "+OK|");
    eventually("a pass", || info(&mut c, "scrub_passes") != "0");
    assert_eq!(info(&mut c, "scrub_bad_segments"), "0");
    let damaged = oldest_segment(&server);
    let file = OpenOptions::new().read(true).write(true).open(&damaged).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 500_000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 500_000).unwrap();
    eventually("the damage is found", || info(&mut c, "scrub_bad_segments") == "1");
    let told = info(&mut c, "scrub_bad_segment_0");
    let name = damaged.file_name().unwrap().to_str().unwrap();
    let offset: u64 = told.strip_prefix(&format!("file={name},offset=")).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!((490_000..=500_000).contains(&offset), "{told}");
    assert_eq!(c.ask("SET other value"), "+OK|", "the server goes on");
}
