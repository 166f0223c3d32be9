//! All subscriptions of the server, and publishing to them.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use esker_storage::glob;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::class::{KEYEVENT, KEYSPACE};
use super::message::{Message, Via};
use super::{Kind, Mailbox, Subscriptions};

/// Subscribers of one channel or pattern, by connection id.
type Audience = FxHashMap<u64, Arc<dyn Mailbox>>;
type Directory = FxHashMap<Box<[u8]>, Audience>;

/// Who is subscribed to what.
///
/// One mutex, not a lock a channel: two messages reach all their common subscribers in the same order, as Redis's clients see it.
#[derive(Default)]
pub struct Hub {
    directories: Mutex<Directories>,
    classes: AtomicU32,
}

#[derive(Default)]
struct Directories {
    channels: Directory,
    patterns: Directory,
    shard_channels: Directory,
}

impl Directories {
    fn of(&mut self, kind: Kind) -> &mut Directory {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shard_channels,
        }
    }

    fn remove(&mut self, kind: Kind, name: &[u8], id: u64) {
        let directory = self.of(kind);
        if let Some(audience) = directory.get_mut(name) {
            audience.remove(&id);
            if audience.is_empty() {
                directory.remove(name);
            }
        }
    }
}

impl Hub {
    /// Subscribes connection `id`; nothing changes if it was subscribed.
    pub fn subscribe(&self, own: &mut Subscriptions, kind: Kind, name: &[u8], id: u64, mailbox: &Arc<dyn Mailbox>) {
        if own.of_mut(kind).insert(name.into()) {
            let mut directories = self.directories.lock();
            match directories.of(kind).entry(name.into()) {
                Entry::Occupied(mut audience) => audience.get_mut().insert(id, Arc::clone(mailbox)),
                Entry::Vacant(audience) => audience.insert(Audience::default()).insert(id, Arc::clone(mailbox)),
            };
        }
    }

    /// Ends a subscription of connection `id`, if it has it. When this returns, nothing more is put into its mailbox on its account.
    pub fn unsubscribe(&self, own: &mut Subscriptions, kind: Kind, name: &[u8], id: u64) {
        if own.of_mut(kind).remove(name) {
            self.directories.lock().remove(kind, name, id);
        }
    }

    /// Ends all subscriptions of connection `id`: it closes, or sent RESET.
    pub fn leave(&self, own: &mut Subscriptions, id: u64) {
        if own.is_empty() {
            return;
        }
        let own = std::mem::take(own);
        let mut directories = self.directories.lock();
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in own.of(kind) {
                directories.remove(kind, name, id);
            }
        }
    }

    /// Publishes to the subscribers of a (shard) channel, and of patterns that match a channel; returns how many messages were put.
    pub fn publish(&self, shard: bool, channel: &[u8], payload: &[u8]) -> usize {
        let mut directories = self.directories.lock();
        let (kind, via) = if shard { (Kind::Shard, Via::Shard) } else { (Kind::Channel, Via::Channel) };
        let mut receivers = 0;
        if let Some(audience) = directories.of(kind).get(channel) {
            receivers += put(audience, &Message::new(via, channel, payload));
        }
        if !shard {
            for (pattern, audience) in directories.patterns.iter().filter(|(pattern, _)| glob::matches(pattern, channel, false)) {
                receivers += put(audience, &Message::new(Via::Pattern(pattern), channel, payload));
            }
        }
        receivers
    }

    /// How many would receive a message now.
    #[must_use]
    pub fn receivers(&self, shard: bool, channel: &[u8]) -> usize {
        let mut directories = self.directories.lock();
        let direct = directories.of(if shard { Kind::Shard } else { Kind::Channel }).get(channel).map_or(0, Audience::len);
        let by_pattern = |directories: &Directories| -> usize {
            directories
                .patterns
                .iter()
                .filter(|(pattern, _)| glob::matches(pattern, channel, false))
                .map(|(_, audience)| audience.len())
                .sum()
        };
        direct + if shard { 0 } else { by_pattern(&directories) }
    }

    /// Channels of a kind with a subscriber, which match the pattern if one is given.
    #[must_use]
    pub fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let mut directories = self.directories.lock();
        directories.of(kind).keys().filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name, false))).cloned().collect()
    }

    /// Subscribers of one name.
    #[must_use]
    pub fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        self.directories.lock().of(kind).get(name).map_or(0, Audience::len)
    }

    /// How many names of a kind have a subscriber.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.directories.lock().of(kind).len()
    }

    /// Whether keyspace events of this class are to be published.
    #[must_use]
    pub fn notifies(&self, class: u32) -> bool {
        let classes = self.classes.load(Ordering::Relaxed);
        classes & class != 0 && classes & (KEYSPACE | KEYEVENT) != 0
    }

    /// The classes of keyspace events that are published.
    #[must_use]
    pub fn classes(&self) -> u32 {
        self.classes.load(Ordering::Relaxed)
    }

    /// Sets the classes of keyspace events that are published (`notify-keyspace-events`).
    pub(crate) fn set_classes(&self, classes: u32) {
        self.classes.store(classes, Ordering::SeqCst);
    }

    /// Publishes a keyspace event, where its class is wanted.
    pub fn notify(&self, class: u32, event: &str, key: &[u8], db: u8) {
        let classes = self.classes();
        if classes & class == 0 {
            return;
        }
        if classes & KEYSPACE != 0 {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            self.publish(false, &channel, event.as_bytes());
        }
        if classes & KEYEVENT != 0 {
            self.publish(false, format!("__keyevent@{db}__:{event}").as_bytes(), key);
        }
    }
}

fn put(audience: &Audience, message: &Message<'_>) -> usize {
    for mailbox in audience.values() {
        mailbox.put(message.encoded(mailbox.version()));
    }
    audience.len()
}
