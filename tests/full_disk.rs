//! The real program on a real ext4 of 64 MiB, in a mount namespace of its own, which ends with the process: it is filled until writes are
//! refused, killed, started again, and emptied. Where loop devices may not be mounted the test says so and is skipped.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Connection, PATIENCE, free_port};
use esker_tools::log::{Args, Outcome, run};

const MEBIBYTES: u64 = 64;
const VALUE: usize = 4000;
const REFUSED: &str = "-ERR no space left for the log in ";

/// An image of a filesystem, mounted by whoever uses it.
struct Disk {
    home: tempfile::TempDir,
}

impl Disk {
    /// None, with the reason printed, where it cannot be.
    fn make() -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let image = home.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(MEBIBYTES << 20).unwrap();
        std::fs::create_dir(home.path().join("mount")).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image).output();
        let disk = Self { home };
        let outcome = made.map_err(|error| format!("mkfs.ext4: {error}")).and_then(|_| {
            let tried = disk.inside("mkdir data").output().map_err(|error| format!("unshare: {error}"))?;
            if tried.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&tried.stderr).into_owned()) }
        });
        if let Err(reason) = outcome {
            println!("skipped: a filesystem cannot be mounted here: {reason}");
            return None;
        }
        disk.wait_until_released();
        Some(disk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs shell commands in the mounted filesystem.
    fn inside(&self, script: &str) -> Command {
        let script = format!("mount -o loop ../image . && cd . && cd \"$PWD\" && {script}");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).current_dir(self.path("mount"));
        command
    }

    /// The kernel unmounts some time after the last process has ended.
    fn wait_until_released(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let devices = Command::new("losetup").arg("-j").arg(self.path("image")).output().unwrap();
            if devices.stdout.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "the filesystem stays mounted");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A copy of the data directory that can be read from outside.
    fn copy_out(&self) -> PathBuf {
        assert!(self.inside("cp -r data ..").status().unwrap().success());
        self.wait_until_released();
        self.path("data")
    }
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(disk: &Disk) -> Self {
        let port = free_port();
        let program = env!("CARGO_BIN_EXE_esker");
        let options = format!("--port {port} --bind 127.0.0.1 --dir data --segment-size 1mb --io-threads 2 --expiry-sweep-time 1");
        let child = disk.inside(&format!("exec {program} {options}")).stdout(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, port };
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "the server does not start");
            assert!(Instant::now() < deadline, "the server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    fn connect(&self) -> Connection {
        Connection::to(self.port)
    }

    fn kill(mut self, disk: &Disk) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        disk.wait_until_released();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn value(n: usize) -> Vec<u8> {
    format!("{n:08} ").into_bytes().repeat(VALUE / 9)
}

/// SET with options; the reply.
fn set(connection: &mut Connection, key: &str, value: &[u8], options: &[&str]) -> String {
    let mut request: Vec<&[u8]> = vec![b"SET", key.as_bytes(), value];
    request.extend(options.iter().map(|option| option.as_bytes()));
    connection.send(&request);
    connection.reply()
}

/// Sets keys until one is refused; how many there are.
fn fill(connection: &mut Connection, prefix: &str, options: &[&str]) -> usize {
    let refused = (0..1_000_000).find_map(|n| {
        let reply = set(connection, &format!("{prefix}:{n}"), &value(n), options);
        (reply != "+OK|").then_some((n, reply))
    });
    let (written, reply) = refused.unwrap();
    assert!(reply.starts_with(REFUSED) && reply.ends_with("until space is freed|"), "{reply}");
    written
}

fn check(connection: &mut Connection, prefix: &str, keys: impl Iterator<Item = usize>) {
    for n in keys {
        let expected = format!("${}|{}|", value(n).len(), String::from_utf8_lossy(&value(n)));
        assert!(connection.ask(&format!("GET {prefix}:{n}")) == expected, "{prefix}:{n}");
    }
}

fn until_not_refused(what: &str, connection: &mut Connection, mut request: impl FnMut(&mut Connection) -> String) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = request(connection);
        if !reply.starts_with('-') {
            return;
        }
        assert!(reply.starts_with(REFUSED), "{what}: {reply}");
        assert!(Instant::now() < deadline, "{what}: still refused: {reply}, {}", connection.ask("INFO persistence"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_sound(dir: &Path) {
    let args = Args::try_parse_from(["esker-log", "--dir", dir.to_str().unwrap(), "verify"]).unwrap();
    let mut report = Vec::new();
    let outcome = run(&args, &mut report);
    assert!(matches!(outcome, Ok(Outcome::Sound)), "{outcome:?}: {}", String::from_utf8_lossy(&report));
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_gets_its_room_back() {
    let Some(disk) = Disk::make() else { return };
    let server = Server::start(&disk);
    let mut connection = server.connect();
    let keys = fill(&mut connection, "key", &[]);
    assert!(keys > 3000, "only {keys} keys in {MEBIBYTES} MiB");
    assert!(connection.ask("INFO persistence").contains("|log_disk_full:1|"));
    check(&mut connection, "key", 0..keys);
    let large = vec![b'x'; 3 << 20];
    let refused = set(&mut connection, "large", &large, &[]);
    assert!(refused.starts_with(REFUSED), "{refused}");

    server.kill(&disk);
    let server = Server::start(&disk);
    let mut connection = server.connect();
    check(&mut connection, "key", 0..keys);
    for n in (0..keys).filter(|n| n % 3 != 0) {
        until_not_refused("DEL", &mut connection, |connection| connection.ask(&format!("DEL key:{n}")));
    }
    until_not_refused("a large value", &mut connection, |connection| set(connection, "large", &large, &[]));
    assert_eq!(connection.ask("STRLEN large"), format!(":{}|", large.len()));
    check(&mut connection, "key", (0..keys).step_by(3));

    // Full again, of what will expire.
    let soon = fill(&mut connection, "soon", &["PX", "1500"]);
    assert!(soon > 500, "only {soon} more keys");
    std::thread::sleep(Duration::from_millis(1500));
    // A slow machine has expired some of them, and written more in their place, before it was refused.
    let late = (soon / 2).min(keys / 4);
    for n in 0..late {
        until_not_refused("after all has expired", &mut connection, |connection| set(connection, &format!("late:{n}"), &value(n), &[]));
    }
    server.kill(&disk);
    let server = Server::start(&disk);
    let mut connection = server.connect();
    check(&mut connection, "key", (0..keys).step_by(3));
    check(&mut connection, "late", 0..late);
    assert_eq!(connection.ask("DBSIZE"), format!(":{}|", keys.div_ceil(3) + late + 1));
    server.kill(&disk);
    is_sound(&disk.copy_out());
}
