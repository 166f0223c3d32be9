//! What two primaries wrote apart: listed, and written again on request.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;
use esker_tools::log::{Args, LogError, Outcome, run};

use crate::common::{Connection, Server};
use crate::proxy::Proxy;
use crate::{contents, converge, number, replica_of, start};

fn esker_log(words: &[&str]) -> Result<(Outcome, String), LogError> {
    let mut out = Vec::new();
    let outcome = run(&Args::parse_from([&["esker-log"], words].concat()), &mut out)?;
    Ok((outcome, String::from_utf8(out).unwrap()))
}

/// An old primary that came back to a new one, after each was written to alone.
struct Parted {
    old: Server,
    new: Server,
    file: PathBuf,
}

impl Parted {
    /// After `both` on the two of them, `at_old` and `at_new` apart.
    fn after(both: &[&[&[u8]]], at_old: &[&[&[u8]]], at_new: &[&[&[u8]]]) -> Self {
        let old = start(&[]);
        let proxy = Proxy::to(old.port());
        let new = replica_of(proxy.port(), &[]);
        all(&mut old.connect(), both);
        converge(&old, &new, "at first");
        proxy.set_cut(true);
        assert_eq!(new.connect().ask("REPLICAOF NO ONE"), "+OK|");
        all(&mut old.connect(), at_old);
        all(&mut new.connect(), at_new);
        assert_eq!(old.connect().ask(&format!("REPLICAOF 127.0.0.1 {}", new.port())), "+OK|");
        converge(&new, &old, "after");
        let files = std::fs::read_dir(old.dir()).unwrap().map(|file| file.unwrap().path());
        let mut divergent = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        let (file, None) = (divergent.next().unwrap(), divergent.next()) else { panic!("one file") };
        Self { old, new, file }
    }

    /// Applies the file to the new primary.
    fn reapply(&self, words: &[&str]) -> Result<(Outcome, String), LogError> {
        let to = format!("127.0.0.1:{}", self.new.port());
        esker_log(&[&["reapply", self.file.to_str().unwrap(), "--to", &to], words].concat())
    }
}

fn all(connection: &mut Connection, requests: &[&[&[u8]]]) {
    for request in requests {
        connection.send(request);
        let reply = connection.reply();
        assert!(!reply.starts_with('-'), "{}: {reply}", request[0].escape_ascii());
    }
}

type State = BTreeMap<(u8, Vec<u8>), Option<Vec<u8>>>;

fn changed(mut state: State, changes: &[(u8, &str, Option<&[u8]>)]) -> State {
    for (db, key, value) in changes {
        let key = (*db, key.as_bytes().to_vec());
        match value {
            Some(value) => drop(state.insert(key, Some(value.to_vec()))),
            None => drop(state.remove(&key)),
        }
    }
    state
}

#[test]
fn what_only_the_old_primary_had_comes_back_and_what_both_wrote_stays() {
    let (long, large) = (vec![b'l'; 3000], vec![b'v'; 400_000]);
    let appended = [&long[..], b" and more"].concat();
    let parted = Parted::after(
        &[
            // A table that is not that of creation.
            &[b"SELECT", b"2"],
            &[b"FLUSHDB"],
            &[b"SET", b"in two", b"both"],
            &[b"SELECT", b"0"],
            &[b"MSET", b"changed", b"both", b"deleted", b"both", b"expires", b"both", b"conflict", b"both", b"gone", b"both"],
            &[b"SET", b"long", &long],
            &[b"SET", b"long conflict", &long],
        ],
        &[
            &[b"MSET", b"only old", b"old", b"changed", b"old", b"conflict", b"old", b"gone", b"old"],
            &[b"DEL", b"deleted"],
            &[b"SET", b"short-lived", b"old"],
            &[b"DEL", b"short-lived"],
            &[b"SET", b"expires", b"old", b"PX", b"1"],
            &[b"SET", b"stays a while", b"old", b"EX", b"5000"],
            &[b"APPEND", b"long", b" and more"],
            &[b"APPEND", b"long conflict", b" and more"],
            &[b"EXPIRE", b"long", b"6000"],
            &[b"SET", b"large", &large],
            &[b"SETRANGE", b"large", b"300000", b"written"],
            &[b"SELECT", b"2"],
            &[b"SET", b"in two", b"old"],
        ],
        &[&[b"SET", b"conflict", b"new"], &[b"DEL", b"gone"], &[b"SET", b"only new", b"new"], &[b"SET", b"long conflict", b"new"]],
    );
    let Parted { old, new, file } = &parted;

    let (outcome, listed) = esker_log(&["divergent", old.dir().to_str().unwrap()]).unwrap();
    assert_eq!(outcome, Outcome::Sound);
    assert!(listed.contains("9 by put, 3 by delta, 2 by tombstone"), "{listed}");
    let (_, json) = esker_log(&["--dir", old.dir().to_str().unwrap(), "divergent", "--json"]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["kind"], &json["keys"]["delta"]), (&"divergent".into(), &3.into()), "{json}");
    // One more if the log was told meanwhile what has expired.
    assert!((12..=13).contains(&json["entries"].as_u64().unwrap()), "{json}");

    let (_, dumped) = esker_log(&["dump", file.to_str().unwrap(), "--key", "in two"]).unwrap();
    assert!(dumped.contains("db 2 "), "{dumped}");

    let before = contents(new);
    let lsn = || number(new, "master_repl_offset");
    let (outcome, told) = parted.reapply(&["--dry-run", "--verbose"]).unwrap();
    assert!(outcome == Outcome::Damaged && told.contains("8 applied: 6 keys set, 2 removed"), "{told}");
    assert_eq!(contents(new), before, "a dry run");

    let mut written = large.clone();
    written[300_000..300_007].copy_from_slice(b"written");
    let expected = changed(
        before,
        &[
            (0, "only old", Some(b"old")),
            (0, "changed", Some(b"old")),
            (0, "deleted", None),
            (0, "expires", None),
            (0, "stays a while", Some(b"old")),
            (0, "long", Some(&appended)),
            (0, "large", Some(&written)),
            (2, "in two", Some(b"old")),
        ],
    );
    let (outcome, told) = parted.reapply(&[]).unwrap();
    assert_eq!(outcome, Outcome::Damaged, "conflicts are left");
    assert!(told.contains("8 applied: 6 keys set, 2 removed") && told.contains("3 conflicts") && told.contains("\"gone\""), "{told}");
    assert!(told.contains("1 already") && told.contains(file.file_name().unwrap().to_str().unwrap()), "{told}");
    assert_eq!(contents(new), expected);
    assert_eq!(new.connect().ask("GET conflict"), "$3|new|");
    let seconds = |key: &str| new.connect().ask(&format!("TTL {key}"))[1..].trim_end_matches('|').parse::<i64>().unwrap();
    assert!((4000..=6000).contains(&seconds("long")), "{}", seconds("long"));

    let after = lsn();
    let (outcome, told) = parted.reapply(&[]).unwrap();
    assert!(outcome == Outcome::Damaged && told.contains("0 applied") && told.contains("9 already"), "{told}");
    assert_eq!(lsn(), after, "nothing is written twice");

    let (outcome, told) = parted.reapply(&["--on-conflict", "overwrite", "--keys", "*o*", "--json", "--verbose"]).unwrap();
    assert_eq!(outcome, Outcome::Sound, "{told}");
    let conflicts = [(0, "conflict", Some(&b"old"[..])), (0, "gone", Some(b"old")), (0, "long conflict", Some(&appended))];
    assert_eq!(contents(new), changed(expected, &conflicts), "{told}");
    let after = lsn();
    let (outcome, told) = parted.reapply(&["--on-conflict", "overwrite"]).unwrap();
    assert!(outcome == Outcome::Sound && told.contains("0 applied"), "{told}");
    assert_eq!(lsn(), after, "nothing is written twice");

    // A server that shares nothing with the file lacks what changes are based on; a data directory may have it.
    let stranger = start(&[]);
    let to = format!("127.0.0.1:{}", stranger.port());
    let words = ["reapply", file.to_str().unwrap(), "--to", &to, "--on-conflict", "overwrite"];
    let (outcome, told) = esker_log(&words).unwrap();
    assert!(outcome == Outcome::Damaged && told.contains("2 cannot be applied"), "{told}");
    let (outcome, told) = esker_log(&[&words[..], &["--dir", old.dir().to_str().unwrap()]].concat()).unwrap();
    assert!(outcome == Outcome::Sound && told.contains("2 applied"), "{told}");
    assert_eq!(contents(&stranger).get(&(0, b"long".to_vec())), Some(&Some(appended)));
}

#[test]
fn what_is_written_at_the_server_meanwhile_is_never_overwritten() {
    let keys: Vec<Vec<u8>> = (0..4000).map(|n| format!("key:{n}").into_bytes()).collect();
    let requests: Vec<[&[u8]; 3]> = keys.iter().map(|key| [b"SET".as_slice(), key, b"old"]).collect();
    let at_old: Vec<&[&[u8]]> = requests.iter().map(|request| &request[..]).collect();
    let parted = Parted::after(&[&[b"SET", b"common", b"both"]], &at_old, &[&[b"SET", b"new", b"new"]]);
    let written = std::thread::scope(|scope| {
        let applied = scope.spawn(|| parted.reapply(&[]).unwrap());
        let mut client = parted.new.connect();
        let mut written = std::collections::BTreeSet::new();
        // All over: before, behind and amid what is being applied.
        for n in (0..keys.len()).map(|n| n * 1237 % keys.len()).take_while(|_| !applied.is_finished()) {
            client.send(&[b"SET", &keys[n], b"new"]);
            assert_eq!(client.reply(), "+OK|");
            written.insert(n);
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        let (_, told) = applied.join().unwrap();
        let summary = told.lines().filter(|line| !line.starts_with("conflict")).collect::<Vec<_>>();
        println!("{} written meanwhile, {}", written.len(), summary.join("\n"));
        written
    });
    assert!(!written.is_empty());
    let found = contents(&parted.new);
    for (n, key) in keys.iter().enumerate() {
        let expected: &[u8] = if written.contains(&n) { b"new" } else { b"old" };
        assert_eq!(found.get(&(0, key.clone())), Some(&Some(expected.to_vec())), "key:{n}");
    }
}

#[test]
fn what_happened_to_whole_databases_is_told_and_left_to_the_user() {
    let parted = Parted::after(
        &[&[b"SET", b"before", b"both"], &[b"SELECT", b"1"], &[b"SET", b"other", b"both"]],
        &[
            &[b"SET", b"flushed", b"old"],
            &[b"FLUSHDB"],
            &[b"SET", b"after", b"old"],
            &[b"SWAPDB", b"0", b"1"],
            &[b"SET", b"swapped", b"old"],
        ],
        &[&[b"SELECT", b"3"], &[b"SET", b"new", b"new"]],
    );
    let (outcome, told) = parted.reapply(&[]).unwrap();
    assert_eq!(outcome, Outcome::Damaged);
    assert!(told.contains("FLUSHDB of database 0") && told.contains("SWAPDB 0 1") && told.contains("emptied afterwards"), "{told}");
    let mut client = parted.new.connect();
    // As the databases are numbered where they were not swapped.
    assert_eq!(
        (client.ask("GET after"), client.ask("GET before"), client.ask("GET flushed")),
        ("$3|old|".into(), "$4|both|".into(), "$-1|".into())
    );
    client.ask("SELECT 1");
    assert_eq!((client.ask("GET swapped"), client.ask("GET other")), ("$3|old|".into(), "$4|both|".into()));
    // There, too, all keys of a database that was emptied were written to.
    client.ask("FLUSHDB");
    client.ask("SELECT 0");
    client.ask("DEL after");
    let (_, told) = parted.reapply(&[]).unwrap();
    assert!(told.contains("0 applied") && told.contains("2 conflicts"), "{told}");
}

#[test]
fn a_damaged_file_and_a_wrong_server_are_refused() {
    let keys: Vec<[Vec<u8>; 3]> = (0..20).map(|n| [b"SET".to_vec(), format!("key:{n}").into_bytes(), vec![b'x'; 100]]).collect();
    let requests: Vec<Vec<&[u8]>> = keys.iter().map(|words| words.iter().map(Vec::as_slice).collect()).collect();
    let at_old: Vec<&[&[u8]]> = requests.iter().map(Vec::as_slice).collect();
    let parted = Parted::after(&[&[b"SET", b"common", b"both"]], &at_old, &[&[b"SET", b"new", b"new"]]);
    let (path, before) = (parted.file.to_str().unwrap(), contents(&parted.new));
    let to = |server: &Server| esker_log(&["reapply", path, "--to", &format!("127.0.0.1:{}", server.port())]);
    let replica = to(&parted.old).unwrap_err().to_string();
    assert!(replica.contains("is a replica") && replica.contains(&parted.new.port().to_string()), "{replica}");
    let stranger = start(&[]);
    assert!(to(&stranger).unwrap_err().to_string().contains("parted from"));
    assert!(contents(&stranger).is_empty());

    let sound = std::fs::read(&parted.file).unwrap();
    let (header, entry) = (128, (sound.len() - 128) / 20);
    let first: u64 = parted.file.file_stem().unwrap().to_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
    // Keys of one digit make shorter entries than those of two, but the tenth still is where the first say.
    let offset = header + 9 * (entry - 1).max(1);
    let mut damaged = sound.clone();
    damaged[offset + entry / 2] ^= 1;
    std::fs::write(&parted.file, &damaged).unwrap();
    let error = to(&parted.new).unwrap_err().to_string();
    assert!(error.contains("offset") && error.contains(&format!("LSN {}", first + 9)) && error.contains(path), "{error}");
    let (outcome, listed) = esker_log(&["divergent", parted.old.dir().to_str().unwrap()]).unwrap();
    assert!(outcome == Outcome::Damaged && listed.contains("DAMAGED") && listed.contains("9 entries"), "{listed}");
    assert_eq!(contents(&parted.new), before, "nothing of a damaged file is applied");
    std::fs::write(&parted.file, &sound[..sound.len() - 3]).unwrap();
    assert!(to(&parted.new).unwrap_err().to_string().contains(&format!("LSN {}", first + 19)));
    std::fs::write(&parted.file, &sound).unwrap();
    assert_eq!(to(&parted.new).unwrap().0, Outcome::Sound);
    assert_eq!(contents(&parted.new).len(), before.len() + 20);
}
