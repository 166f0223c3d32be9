//! The real program, killed with SIGKILL at random moments under load: no acknowledged write is missing, nothing is there that was never
//! written, and what is there is a prefix of what each client sent.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod writer;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::Server;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use writer::Writer;

const ROUNDS: u32 = 12;
const WRITERS: u8 = 4;

/// ESKER_SEED, or another one each time; printed, so that a failure can be run again.
fn seed() -> u64 {
    let given = std::env::var("ESKER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 % 1_000_000);
    println!("ESKER_SEED={seed}");
    seed
}

/// Values of fields of INFO.
fn info(server: &Server, field: &str) -> String {
    server.connect().info("persistence", field).unwrap_or_else(|| panic!("no {field}"))
}

fn kill_loop(fsync: &str) {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut server = Server::with(&["--appendfsync", fsync, "--segment-size", "1mb", "--io-threads", "2"]);
    let mut writers: Vec<Writer> = (0..WRITERS).map(|db| Writer::new(db, rng.random())).collect();
    let (mut segments, mut checkpoints) = (0_u32, 0);
    for round in 0..ROUNDS {
        let moment = Duration::from_millis(rng.random_range(30..400));
        let port = server.port();
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(move || writer.run(port));
            }
            std::thread::sleep(moment);
            server.kill();
        });
        // Starts are killed too, at any moment between the first system call and the first connection.
        (0..rng.random_range(0..3)).for_each(|_| server.start_and_kill(Duration::from_micros(rng.random_range(0..60_000))));
        server.restart();
        let what = format!("seed {seed}, {fsync}, round {round}, killed after {moment:?}");
        assert_eq!(info(&server, "recovery_kind"), "crash", "{what}");
        let millis: u64 = info(&server, "recovery_ms").parse().unwrap();
        // A replay of all that was ever written takes longer; on a machine whose disk is busy a few syncs alone take seconds.
        assert!(millis < 10_000, "{what}: the start took {millis} ms");
        for writer in &mut writers {
            writer.check(&mut server.connect(), &what);
        }
        segments = segments.max(info(&server, "log_segments").parse().unwrap());
        checkpoints += u32::from(info(&server, "checkpoint_lsn") != "0");
    }
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    println!("{fsync}: {acknowledged} requests acknowledged, {segments} segments");
    assert!(segments > 3, "the log had {segments} segments: too few for rolls and seals to be among what was killed");
    assert!(checkpoints > 0, "no checkpoint was taken");
    assert!(server.terminate().success());
    server.restart();
    assert_eq!(info(&server, "recovery_kind"), "clean");
    writers.iter_mut().for_each(|writer| writer.check(&mut server.connect(), "after the clean stop"));
}

#[test]
fn acknowledged_writes_survive_kill_9_under_always() {
    kill_loop("always");
}

#[test]
fn acknowledged_writes_survive_kill_9_under_everysec() {
    kill_loop("everysec");
}
