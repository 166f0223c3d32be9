//! A look ahead across connections that do not pipeline: a single request is put aside when it is read, and by the time the first of
//! those that arrived together runs, the memory that all their keys touch is under way.
//!
//! Only a hint: nothing here decides what runs, or how.

use std::cell::RefCell;

use esker_storage::shard::{Expected, Shard};
use esker_storage::types::Db;
use smallvec::SmallVec;

use super::ahead::{REQUESTS, first_key};
use crate::server::Server;

/// Longer requests are run at once: copying them costs more than waiting for memory.
const LONGEST: usize = 1024;

/// The keys of the requests that were put aside since the last look.
#[derive(Default)]
struct Arrivals {
    bytes: Vec<u8>,
    /// Where each key ends, its database, and whether it will be written.
    keys: Vec<(usize, Db, bool)>,
}

thread_local! {
    static ARRIVALS: RefCell<Arrivals> = const { RefCell::new(Arrivals { bytes: Vec::new(), keys: Vec::new() }) };
}

/// Notes the key if `input` is one request with a key and nothing else. False: it is to be run at once.
#[inline]
pub(super) fn note(input: &[u8], db: Db) -> bool {
    if input.len() > LONGEST {
        return false;
    }
    let Some((Some((key, arguments)), [])) = first_key(input) else { return false };
    ARRIVALS.with_borrow_mut(|arrivals| {
        arrivals.bytes.extend_from_slice(key);
        arrivals.keys.push((arrivals.bytes.len(), db, arguments > 2));
    });
    true
}

/// Asks for the memory of all keys that were noted since the last time.
#[inline]
pub(super) fn look_ahead(server: &Server) {
    ARRIVALS.with_borrow_mut(|arrivals| {
        // A request that came alone is run next: there is nothing to do in the meantime.
        if arrivals.keys.len() > 1 {
            arrivals.look(&server.shard());
        }
        arrivals.keys.clear();
        arrivals.bytes.clear();
    });
}

impl Arrivals {
    fn look(&self, shard: &Shard) {
        let mut start = 0;
        for group in self.keys.chunk_by(|a, b| a.1 == b.1).flat_map(|of_one_db| of_one_db.chunks(REQUESTS)) {
            let mut expected = SmallVec::<[Expected<'_>; REQUESTS]>::new();
            for (end, _, write) in group {
                expected.push(Expected { key: shard.key(&self.bytes[start..*end]), write: *write });
                start = *end;
            }
            shard.look_ahead(group[0].1, &expected);
        }
    }
}
