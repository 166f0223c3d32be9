//! A trace against a server.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use super::super::BenchError;
use super::super::keys::Names;
use super::super::value::Values;
use super::Misses;
use super::args::Trace;
use super::client::{Answer, Asked, Client};
use super::source::Requests;

/// Wrong answers that are kept as examples.
const EXAMPLES: usize = 5;

/// What the server did.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) misses: Misses,
    pub(super) seconds: f64,
    /// SETs that were done.
    pub(super) sets: u64,
    /// Error replies by their text.
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) wrong: u64,
    pub(super) examples: Vec<String>,
}

impl Replayed {
    /// Whether every request was answered, and rightly.
    pub(super) fn is_right(&self) -> bool {
        self.wrong == 0 && self.refused.is_empty()
    }

    fn note(&mut self, answer: Answer) {
        match answer {
            Answer::Hit | Answer::Miss => {}
            Answer::Stored => self.sets += 1,
            Answer::Refused(text) => *self.refused.entry(text).or_default() += 1,
            Answer::Wrong(what) => {
                self.wrong += 1;
                if self.examples.len() < EXAMPLES {
                    self.examples.push(what);
                }
            }
        }
    }
}

pub(super) fn run(options: &Trace, requests: &Requests, warmup: usize) -> Result<Replayed, BenchError> {
    let target = options.server.target();
    let stream = target.connect_until(options.server.deadline())?;
    let names = Names::new("key:", None, requests.footprint() as u64);
    let values = Values::new(names.clone(), options.seed, true);
    let client = Client::new(stream, target.address(), names, values, options.value_bytes);
    let began = Instant::now();
    let mut replay = Replay { client, known: vec![false; requests.footprint()], replayed: Replayed::default() };
    let mut rest = requests.order.as_slice();
    let mut missed = Vec::new();
    while !rest.is_empty() {
        let (window, after) = rest.split_at(replay.window(rest, options.window as usize));
        let skip = warmup.saturating_sub(requests.order.len() - rest.len());
        missed = replay.turn(&missed, window, skip)?;
        rest = after;
    }
    replay.turn(&missed, &[], 0)?;
    Ok(Replayed { seconds: began.elapsed().as_secs_f64(), ..replay.replayed })
}

struct Replay {
    client: Client,
    /// Keys that were there when last heard of.
    known: Vec<bool>,
    replayed: Replayed,
}

impl Replay {
    /// How many of the requests go at once: none may depend on a SET that an earlier one of them will need.
    fn window(&self, rest: &[u32], most: usize) -> usize {
        let mut absent = HashSet::new();
        rest.iter().take(most).take_while(|key| self.known[**key as usize] || absent.insert(**key)).count()
    }

    /// Writes what missed and asks for the window; what of that missed. The first `skip` requests do not count.
    fn turn(&mut self, missed: &[u32], window: &[u32], skip: usize) -> Result<Vec<u32>, BenchError> {
        missed.iter().for_each(|key| self.client.set(*key));
        window.iter().for_each(|key| self.client.get(*key));
        let (mut absent, mut new, mut gets) = (HashSet::new(), Vec::new(), 0);
        let (known, replayed) = (&mut self.known, &mut self.replayed);
        self.client.exchange(|asked, answer| {
            match asked {
                Asked::Set(key) => known[key as usize] = answer == Answer::Stored,
                Asked::Get(key) => {
                    // A key that was thought to be there and is asked for twice has its SET between the two, had there been time for it.
                    let hit = answer == Answer::Hit || !(absent.insert(key));
                    if !hit {
                        new.push(key);
                    }
                    // Its SET follows before anybody asks again.
                    known[key as usize] = true;
                    if gets >= skip {
                        replayed.misses.count(hit);
                    }
                    gets += 1;
                }
            }
            replayed.note(answer);
        })?;
        Ok(new)
    }
}
