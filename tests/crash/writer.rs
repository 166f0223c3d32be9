//! A client that writes to a database of its own and knows what has to be there after its requests were cut off anywhere.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::common::Connection;

/// Requests sent ahead of their replies.
const AHEAD: usize = 16;
const KEYS: u32 = 150;

type State = BTreeMap<String, Vec<u8>>;

/// What one request, or one transaction, does.
#[derive(Debug, Clone)]
enum Change {
    Set(Vec<(String, Vec<u8>)>),
    Delete(String),
    Append(String, Vec<u8>),
    Overwrite(String, usize, Vec<u8>),
    Flush,
    /// A checkpoint in the background: no change, but work that a kill can hit.
    Checkpoint,
}

impl Change {
    fn random(rng: &mut StdRng) -> Self {
        let key = format!("key:{}", rng.random_range(0..KEYS));
        match rng.random_range(0..1000) {
            0..700 => {
                let len = if rng.random_bool(0.004) { 300_000 } else { rng.random_range(0..1200) };
                Self::Set(vec![(key, value(rng, len))])
            }
            700..800 => Self::Delete(key),
            800..880 => Self::Append(key, value(rng, 60)),
            880..940 => Self::Overwrite(key, rng.random_range(0..2000), value(rng, 30)),
            940..995 => Self::Set((0..rng.random_range(2..6)).map(|n| (format!("multi:{n}"), value(rng, 100))).collect()),
            995..998 => Self::Checkpoint,
            _ => Self::Flush,
        }
    }

    fn apply(&self, state: &mut State) {
        match self {
            Self::Set(pairs) => state.extend(pairs.iter().cloned()),
            Self::Delete(key) => drop(state.remove(key)),
            Self::Append(key, tail) => state.entry(key.clone()).or_default().extend(tail),
            Self::Overwrite(key, offset, bytes) => {
                let value = state.entry(key.clone()).or_default();
                value.resize(value.len().max(offset + bytes.len()), 0);
                value[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Self::Flush => state.clear(),
            Self::Checkpoint => {}
        }
    }

    /// The request's bytes, and how many replies it gets.
    fn encode(&self) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        let mut replies = 1;
        match self {
            Self::Set(pairs) if pairs.len() > 1 => {
                request(&mut bytes, &[b"MULTI"]);
                pairs.iter().for_each(|(key, value)| request(&mut bytes, &[b"SET", key.as_bytes(), value]));
                request(&mut bytes, &[b"EXEC"]);
                replies = pairs.len() + 2;
            }
            Self::Set(pairs) => pairs.iter().for_each(|(key, value)| request(&mut bytes, &[b"SET", key.as_bytes(), value])),
            Self::Delete(key) => request(&mut bytes, &[b"DEL", key.as_bytes()]),
            Self::Append(key, tail) => request(&mut bytes, &[b"APPEND", key.as_bytes(), tail]),
            Self::Overwrite(key, offset, tail) => request(&mut bytes, &[b"SETRANGE", key.as_bytes(), offset.to_string().as_bytes(), tail]),
            Self::Flush => request(&mut bytes, &[b"FLUSHDB"]),
            Self::Checkpoint => request(&mut bytes, &[b"BGSAVE"]),
        }
        (bytes, replies)
    }
}

fn value(rng: &mut StdRng, len: usize) -> Vec<u8> {
    let seed: u32 = rng.random();
    (0..len).map(|n| (seed.wrapping_add(n as u32 / 5) % 251) as u8).collect()
}

fn request(out: &mut Vec<u8>, args: &[&[u8]]) {
    out.extend(format!("*{}\r\n", args.len()).bytes());
    for arg in args {
        out.extend(format!("${}\r\n", arg.len()).bytes());
        out.extend_from_slice(arg);
        out.extend(b"\r\n");
    }
}

/// The client.
pub struct Writer {
    db: u8,
    rng: StdRng,
    /// With all that was acknowledged.
    state: State,
    /// Sent, in order, and not acknowledged.
    open: VecDeque<Change>,
    /// Requests acknowledged in all.
    pub acknowledged: u64,
}

impl Writer {
    pub fn new(db: u8, seed: u64) -> Self {
        Self { db, rng: StdRng::seed_from_u64(seed), state: State::new(), open: VecDeque::new(), acknowledged: 0 }
    }

    /// Writes until the server is gone.
    pub fn run(&mut self, port: u16) {
        let mut connection = Connection::to(port);
        if connection.try_ask(&format!("SELECT {}", self.db)).is_err() {
            return;
        }
        let mut stream = connection.another_handle();
        let mut awaited = VecDeque::new();
        loop {
            while self.open.len() < AHEAD {
                let change = Change::random(&mut self.rng);
                let (bytes, replies) = change.encode();
                // It may have arrived whatever the outcome.
                self.open.push_back(change);
                awaited.push_back(replies);
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            for _ in 0..awaited.pop_front().unwrap() {
                match connection.try_reply() {
                    Ok(reply) => assert!(!reply.starts_with('-') || reply.contains("in progress"), "{reply}"),
                    Err(_) => return,
                }
            }
            self.open.pop_front().unwrap().apply(&mut self.state);
            self.acknowledged += 1;
        }
    }

    /// Demands what was acknowledged, then any number of the requests that were not, in their order, and nothing else.
    pub fn check(&mut self, connection: &mut Connection, what: &str) {
        let found = self.read(connection);
        let first_difference = difference(&self.state, &found);
        loop {
            if self.state == found {
                self.open.clear();
                return;
            }
            let Some(change) = self.open.pop_front() else { break };
            change.apply(&mut self.state);
        }
        panic!(
            "{what}: database {} is no prefix of what was sent. Against what was acknowledged: {first_difference}; against all: {}",
            self.db,
            difference(&self.state, &found)
        );
    }

    fn read(&self, connection: &mut Connection) -> State {
        connection.ask(&format!("SELECT {}", self.db));
        connection.send(&[b"KEYS", b"*"]);
        let keys = connection.bulks();
        let found = keys.into_iter().map(|key| {
            connection.send(&[b"MGET", &key]);
            let value = connection.bulks().pop();
            (String::from_utf8(key).unwrap(), value.expect("a key that KEYS lists"))
        });
        found.collect()
    }
}

fn difference(expected: &State, found: &State) -> String {
    let keys = expected.keys().chain(found.keys());
    let different = keys.filter(|key| expected.get(*key) != found.get(*key));
    let text: Vec<String> = different
        .take(5)
        .map(|key| format!("{key} has {:?} bytes for {:?}", found.get(key).map(Vec::len), expected.get(key).map(Vec::len)))
        .collect();
    text.join(", ")
}
