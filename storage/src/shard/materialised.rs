//! Strings put together from long chains, kept so that a read or a write of a few bytes costs a few bytes.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::types::Location;

/// A bounded cache of strings by the location of their newest delta, first in, first out.
pub(super) struct Materialised {
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    strings: HashMap<Location, Vec<u8>>,
    order: VecDeque<Location>,
    bytes: u64,
}

impl Materialised {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, state: Mutex::new(State::default()) }
    }

    /// Whether a string of this length can be kept at all.
    pub(super) fn has_room(&self, len: u64) -> bool {
        len <= self.limit / 2
    }

    /// Takes a string out: whoever changes it puts it back under its new location.
    pub(super) fn take(&self, location: Location) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        let value = state.strings.remove(&location)?;
        state.bytes -= value.len() as u64;
        Some(value)
    }

    pub(super) fn put(&self, location: Location, value: Vec<u8>) {
        if !self.has_room(value.len() as u64) {
            return;
        }
        let mut state = self.state.lock();
        state.bytes += value.len() as u64;
        if let Some(replaced) = state.strings.insert(location, value) {
            state.bytes -= replaced.len() as u64;
        }
        state.order.push_back(location);
        state.shrink(self.limit);
    }
}

impl State {
    fn shrink(&mut self, limit: u64) {
        // The order also names strings that were taken out; dropping those costs nothing.
        while self.bytes > limit || self.order.len() > 2 * self.strings.len() + 16 {
            let Some(oldest) = self.order.pop_front() else { return };
            if self.bytes > limit
                && let Some(value) = self.strings.remove(&oldest)
            {
                self.bytes -= value.len() as u64;
            }
        }
    }
}
