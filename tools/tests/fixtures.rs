//! `esker-log`, the program itself, on the data directories of every released format.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixtures() -> Vec<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let found: Vec<_> = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert!(!found.is_empty());
    found
}

fn esker_log(dir: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_esker-log")).arg("--dir").arg(dir).args(words).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Names and bytes of all files of the shard.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(dir.join("shard-0")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    found.sort();
    found
}

#[test]
fn fixtures_are_sound_and_are_not_written_to() {
    for fixture in fixtures() {
        let before = contents(&fixture);
        let verified = esker_log(&fixture, &["verify"]);
        assert!(verified.status.success(), "{}", text(&verified));
        for words in [&["ls"][..], &["stat"], &["dump", "--json"], &["history", "key:1"], &["tail", "-n", "3"]] {
            let output = esker_log(&fixture, words);
            assert!(output.status.success() && !output.stdout.is_empty(), "{words:?}: {}", text(&output));
        }
        assert!(text(&esker_log(&fixture, &["history", "key:1"])).contains("in the second epoch"));
        assert!(contents(&fixture) == before && !fixture.join("LOCK").exists(), "esker-log wrote to the directory");
    }
}

#[test]
fn one_flipped_bit_is_told_with_its_file() {
    for fixture in fixtures() {
        let home = tempfile::tempdir().unwrap();
        assert!(Command::new("cp").arg("-r").arg(&fixture).arg(home.path()).status().unwrap().success());
        let copy = home.path().join(fixture.file_name().unwrap());
        for (path, sound) in contents(&copy).into_iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "seg")) {
            let mut damaged = sound.clone();
            damaged[sound.len() / 2] ^= 16;
            fs::write(&path, &damaged).unwrap();
            let verified = esker_log(&copy, &["verify"]);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(verified.status.code(), Some(1), "{name}: {}", text(&verified));
            assert!(text(&verified).contains(name), "{}", text(&verified));
            fs::write(&path, &sound).unwrap();
        }
        assert!(esker_log(&copy, &["verify"]).status.success());
    }
}
