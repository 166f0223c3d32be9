//! Runs one sequence on two servers and compares what they answer.

use std::fmt::Write;

use crate::wire::{Connection, Request};

/// A request and which of the clients sends it.
#[derive(Clone)]
pub struct Step {
    /// The client.
    pub client: usize,
    /// What it sends.
    pub request: Request,
}

/// Clients in a sequence.
pub const CLIENTS: usize = 2;
/// Databases whose end state is compared.
const DATABASES: [&str; 4] = ["0", "1", "2", "15"];

/// The two servers' ports and the protocol that their clients speak.
#[derive(Clone, Copy)]
pub struct Pair {
    /// Esker's port.
    pub esker: u16,
    /// Redis's port.
    pub redis: u16,
    /// 2 or 3.
    pub protocol: u8,
}

/// Where two servers differed.
pub struct Difference {
    what: String,
    esker: Vec<u8>,
    redis: Vec<u8>,
}

impl Pair {
    /// The first difference in a run of the sequence on empty databases.
    pub fn run(self, steps: &[Step]) -> Option<Difference> {
        let mut esker = Side::new(self.esker, self.protocol);
        let mut redis = Side::new(self.redis, self.protocol);
        for (i, step) in steps.iter().enumerate() {
            let replies = (esker.clients[step.client].call(&step.request), redis.clients[step.client].call(&step.request));
            // A watched key that is absent shares its version with its neighbours: EXEC may refuse without need.
            if is_refusal(&replies.0) && step.request[0].eq_ignore_ascii_case(b"EXEC") && !is_refusal(&replies.1) {
                return None;
            }
            let failed = holds_error(&replies.1);
            if !same_reply(&step.request, &replies.0, &replies.1) {
                return Some(Difference { what: format!("the reply to request {}", i + 1), esker: replies.0, redis: replies.1 });
            }
            let events = (esker.events(failed), redis.events(failed));
            if events.0 != events.1 {
                return Some(Difference { what: format!("the events of request {}", i + 1), esker: events.0, redis: events.1 });
            }
        }
        let states = (esker.state(), redis.state());
        (states.0 != states.1).then(|| Difference { what: "the state at the end".into(), esker: states.0, redis: states.1 })
    }

    /// Leaves out what the difference does not need, then fails with the rest.
    pub fn fail(self, seed: u64, mut steps: Vec<Step>, mut difference: Difference) -> ! {
        let mut piece = steps.len().div_ceil(2);
        loop {
            let mut at = 0;
            while at < steps.len() {
                let mut fewer = steps.clone();
                fewer.drain(at..(at + piece).min(steps.len()));
                match self.run(&fewer) {
                    Some(found) => (steps, difference) = (fewer, found),
                    None => at += piece,
                }
            }
            if piece == 1 {
                break;
            }
            piece = piece.div_ceil(2);
        }
        let mut text = format!("RESP{}, seed {seed}: {} differs after\n", self.protocol, difference.what);
        for (i, step) in steps.iter().enumerate() {
            let words: Vec<String> = step.request.iter().map(|w| shown(w)).collect();
            let _ = writeln!(text, "  {}. client {}: {}", i + 1, step.client, words.join(" "));
        }
        panic!("{text}esker: {}\nredis: {}", shown(&difference.esker), shown(&difference.redis));
    }
}

/// One server with its clients of a sequence.
struct Side {
    clients: Vec<Connection>,
    subscriber: Connection,
    admin: Connection,
}

impl Side {
    fn new(port: u16, protocol: u8) -> Self {
        let mut admin = Connection::open(port);
        admin.call_words(&["FLUSHALL"]);
        let mut subscriber = Connection::open(port);
        subscriber.call_words(&["PSUBSCRIBE", "__key*", "end"]);
        subscriber.reply();
        let mut clients: Vec<Connection> = (0..CLIENTS).map(|_| Connection::open(port)).collect();
        if protocol == 3 {
            clients.iter_mut().for_each(|c| drop(c.call_words(&["HELLO", "3"])));
        }
        Self { clients, subscriber, admin }
    }

    /// Events since the last time, but for expiry, whose moment is the server's own, and for what a failed command did not find: of that
    /// Esker reports nothing.
    fn events(&mut self, failed: bool) -> Vec<u8> {
        self.admin.call_words(&["PUBLISH", "end", "now"]);
        let mut events = Vec::new();
        loop {
            let message = self.subscriber.reply();
            if message.ends_with(b"now\r\n") {
                return events;
            }
            if !(contains(&message, b"expired") || failed && contains(&message, b"keymiss")) {
                events.extend_from_slice(&message);
            }
        }
    }

    /// Keys and values of the databases that the sequences use.
    fn state(&mut self) -> Vec<u8> {
        let mut state = Vec::new();
        for db in DATABASES {
            self.admin.call_words(&["SELECT", db]);
            for key in ["a", "b", "c", "d", "{a}x", "{a}y"] {
                state.extend_from_slice(&self.admin.call_words(&["GET", key]));
                let ttl = self.admin.call_words(&["PTTL", key]);
                state.extend_from_slice(if ttl.starts_with(b":-") { &ttl } else { b":some\r\n" });
            }
        }
        state
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|w| w == part)
}

/// Whether it is EXEC's reply when a watched key has changed.
fn is_refusal(reply: &[u8]) -> bool {
    matches!(reply, b"*-1\r\n" | b"_\r\n")
}

/// Whether the reply is an error, or the reply of a transaction with one in it.
fn holds_error(reply: &[u8]) -> bool {
    reply.starts_with(b"-") || contains(reply, b"\r\n-")
}

/// Replies are equal byte for byte, but for what depends on the clock, and the order of KEYS.
fn same_reply(request: &Request, a: &[u8], b: &[u8]) -> bool {
    // Esker's errors are text: bytes of the request that are none are replaced in them.
    if a == b || a.starts_with(b"-") && String::from_utf8_lossy(a) == String::from_utf8_lossy(b) {
        return true;
    }
    let lines = |reply: &[u8]| -> Vec<Vec<u8>> { reply.split(|c| *c == b'\n').map(<[u8]>::to_vec).collect() };
    let (mut a, mut b) = (lines(a), lines(b));
    let name = request[0].to_ascii_uppercase();
    match name.as_slice() {
        b"TTL" | b"PTTL" | b"EXPIRETIME" | b"PEXPIRETIME" | b"EXEC" => {
            a.len() == b.len()
                && a.iter().zip(&b).all(|(a, b)| a == b || are_close(a, b) || name == b"EXEC" && is_key_line(a) && is_key_line(b))
        }
        b"KEYS" => {
            a.sort_unstable();
            b.sort_unstable();
            a == b
        }
        _ => false,
    }
}

/// Two large integers that differ by less than the servers' clocks may.
fn are_close(a: &[u8], b: &[u8]) -> bool {
    let number = |line: &[u8]| std::str::from_utf8(line.strip_prefix(b":")?).ok()?.trim().parse::<i64>().ok();
    matches!((number(a), number(b)), (Some(a), Some(b)) if a > 50_000 && b > 50_000 && (a - b).abs() <= 5_000)
}

/// A line of a KEYS reply inside EXEC's, in whatever order.
fn is_key_line(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    matches!(line, b"a" | b"b" | b"c" | b"d" | b"{a}x" | b"{a}y" | b"$1" | b"$4")
}

/// Bytes as a person reads them, shortened.
fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() > 1_500 { format!("\"{}…\" ({} bytes)", &text[..1_500], bytes.len()) } else { format!("\"{text}\"") }
}
