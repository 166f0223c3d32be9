//! One connected client as others see it: what CLIENT LIST shows, a mailbox for messages, and a way to end it.
//!
//! Invariants: whoever posts or kills sets the flag first and wakes second; the connection's task clears the flag before it looks, so
//! nothing is missed. The waker is stored once: a task's waker never changes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use esker_storage::types::{Db, UnixMillis};
use parking_lot::{Mutex, MutexGuard};

use crate::protocol::Version;
use crate::pubsub::Mailbox;

/// Classes of clients with limits of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Class {
    /// Everyone else.
    #[default]
    Normal,
    /// With a subscription.
    PubSub,
    /// A replica's link.
    Replica,
}

/// What CLIENT LIST shows; brought up to date once a batch.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub library_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: Vec<u8>,
    /// When its last request came.
    pub last_interaction: UnixMillis,
    /// The selected database.
    pub db: Db,
    /// Channels subscribed to.
    pub channels: usize,
    /// Patterns subscribed to.
    pub patterns: usize,
    /// Shard channels subscribed to.
    pub shard_channels: usize,
    /// Commands queued by MULTI; None outside of it.
    pub queued: Option<usize>,
    /// Bytes of the queued commands.
    pub queued_bytes: usize,
    /// Whether it is a MONITOR.
    pub monitor: bool,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// Closes once its replies are sent.
    pub closing: bool,
    /// Waits for something: a pause, a flush.
    pub blocked: bool,
    /// Bytes of unfinished requests.
    pub query_buffer: usize,
    /// Room left in its query buffer.
    pub query_buffer_free: usize,
    /// Bytes of parsed arguments.
    pub arguments: usize,
    /// Since when its unsent bytes are above the soft limit.
    pub over_soft_limit_since: Option<Instant>,
    /// The protocol version.
    pub version: Version,
    /// The last command's full name.
    pub command: &'static str,
    /// Whether it gave a password (or none is needed).
    pub authenticated: bool,
}

#[derive(Debug, Default)]
struct Mail {
    messages: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

/// One connected client.
#[derive(Debug, Default)]
pub struct Client {
    /// Its id; never used twice.
    pub id: u64,
    /// Its address, `ip:port`.
    pub address: String,
    /// The address it connected to.
    pub local_address: String,
    /// The socket's descriptor.
    pub descriptor: i32,
    /// When it connected.
    pub connected_at: UnixMillis,
    shown: Mutex<Shown>,
    mailbox: Mutex<Mail>,
    /// The mailbox holds something, or the client was killed.
    notified: AtomicBool,
    killed: AtomicBool,
    /// Bytes of replies that wait to be sent, without the mailbox.
    unsent: AtomicUsize,
    /// Unsent bytes above which it is ended at once; 0 is no limit.
    hard_limit: AtomicUsize,
    /// Whether it speaks RESP3.
    resp3: AtomicBool,
    waker: OnceLock<Waker>,
    /// Whether it is a replica's link.
    is_replica: bool,
}

impl Client {
    /// A client that has just connected.
    #[must_use]
    pub fn new(id: u64, address: String, local_address: String, descriptor: i32, now: UnixMillis) -> Self {
        let shown = Shown { last_interaction: now, ..Shown::default() };
        Self { id, address, local_address, descriptor, connected_at: now, shown: Mutex::new(shown), ..Self::default() }
    }

    /// The same client as a replica's link: served by another task, on another descriptor of its socket.
    #[must_use]
    pub fn as_link(&self, descriptor: i32) -> Self {
        let shown = Mutex::new(self.shown().clone());
        let (address, local_address) = (self.address.clone(), self.local_address.clone());
        Self {
            id: self.id,
            address,
            local_address,
            descriptor,
            connected_at: self.connected_at,
            shown,
            is_replica: true,
            ..Self::default()
        }
    }

    /// Tells whoever posts messages which protocol version it speaks.
    pub fn set_version(&self, version: Version) {
        self.resp3.store(version == Version::Resp3, Ordering::Release);
    }

    /// What CLIENT LIST shows. Held for moments only.
    pub fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock()
    }

    /// Whether it is a replica's link.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.is_replica
    }

    /// Its class.
    #[must_use]
    pub fn class(&self) -> Class {
        if self.is_replica {
            return Class::Replica;
        }
        let shown = self.shown();
        if shown.channels + shown.patterns + shown.shard_channels > 0 { Class::PubSub } else { Class::Normal }
    }

    /// Delivers an encoded message. Ends the client instead if it holds back more than its limit.
    pub fn post(&self, message: Arc<[u8]>) {
        let mut mailbox = self.mailbox.lock();
        mailbox.bytes += message.len();
        let limit = self.hard_limit.load(Ordering::Relaxed);
        let full = limit > 0 && mailbox.bytes + self.unsent.load(Ordering::Relaxed) > limit;
        if full {
            *mailbox = Mail::default();
        } else {
            mailbox.messages.push_back(message);
        }
        drop(mailbox);
        if full {
            self.kill();
        } else {
            self.notify();
        }
    }

    /// Ends the connection as soon as its task runs; unsent replies are lost.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.notify();
    }

    /// Whether it was killed.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Returns when it is killed; the task that waits is the only one that serves it.
    pub async fn killed(&self) {
        let poll = |cx: &mut Context<'_>| {
            self.attach(cx.waker());
            if self.is_killed() { Poll::Ready(()) } else { Poll::Pending }
        };
        poll_fn(poll).await;
    }

    fn notify(&self) {
        // A flag already set means that a wake is under way: one wake for any number of messages.
        if !self.notified.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Has the connection's task run again.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Bytes that wait to be sent, the mailbox's included.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.mailbox.lock().bytes + self.unsent.load(Ordering::Relaxed)
    }

    /// Tells how many bytes of replies wait to be sent. False: that is more than the client may hold back.
    #[inline]
    pub(super) fn set_unsent(&self, bytes: usize) -> bool {
        self.unsent.store(bytes, Ordering::Relaxed);
        let limit = self.hard_limit.load(Ordering::Relaxed);
        limit == 0 || bytes <= limit
    }

    pub(super) fn attach(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// Whether something came since the last call.
    #[inline]
    pub(super) fn take_notified(&self) -> bool {
        self.notified.load(Ordering::Relaxed) && self.notified.swap(false, Ordering::AcqRel)
    }

    pub(super) fn set_hard_limit(&self, bytes: usize) {
        self.hard_limit.store(bytes, Ordering::Relaxed);
    }
}

impl Mailbox for Client {
    fn version(&self) -> Version {
        if self.resp3.load(Ordering::Acquire) { Version::Resp3 } else { Version::Resp2 }
    }

    fn put(&self, message: &Arc<[u8]>) {
        self.post(Arc::clone(message));
    }

    fn take_into(&self, out: &mut Vec<u8>) {
        let mail = std::mem::take(&mut *self.mailbox.lock());
        for message in mail.messages {
            out.extend_from_slice(&message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client::new(1, String::new(), String::new(), 0, UnixMillis(0))
    }

    #[test]
    fn messages_come_out_in_the_order_they_were_posted() {
        let client = client();
        assert!(!client.take_notified());
        client.post(Arc::from(&b"one "[..]));
        client.post(Arc::from(&b"two"[..]));
        assert!(client.take_notified() && !client.take_notified());
        assert_eq!(client.unsent(), 7);
        let mut out = b"> ".to_vec();
        client.take_into(&mut out);
        assert_eq!(out, b"> one two");
        assert_eq!(client.unsent(), 0);
    }

    #[test]
    fn a_client_that_holds_back_too_much_is_killed() {
        let client = client();
        client.set_hard_limit(10);
        assert!(client.set_unsent(6));
        client.post(Arc::from(&b"1234"[..]));
        assert!(!client.is_killed());
        client.post(Arc::from(&b"5"[..]));
        assert!(client.is_killed() && client.take_notified());
        assert!(!client.set_unsent(11));
    }

    #[test]
    fn a_subscription_makes_another_class() {
        let client = client();
        assert_eq!(client.class(), Class::Normal);
        client.shown().patterns = 1;
        assert_eq!(client.class(), Class::PubSub);
    }
}
