//! A published message, encoded at most once a protocol version, however many receive it.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::protocol::{Reply, Version};

/// How a subscriber came to receive a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Via<'a> {
    /// It subscribed to the channel.
    Channel,
    /// It subscribed to this pattern.
    Pattern(&'a [u8]),
    /// It subscribed to the shard channel.
    Shard,
}

/// A message on its way to the subscribers of one channel or pattern.
pub(super) struct Message<'a> {
    via: Via<'a>,
    channel: &'a [u8],
    payload: &'a [u8],
    resp2: OnceCell<Arc<[u8]>>,
    resp3: OnceCell<Arc<[u8]>>,
}

impl<'a> Message<'a> {
    pub(super) fn new(via: Via<'a>, channel: &'a [u8], payload: &'a [u8]) -> Self {
        Self { via, channel, payload, resp2: OnceCell::new(), resp3: OnceCell::new() }
    }

    /// Its bytes in a protocol version.
    pub(super) fn encoded(&self, version: Version) -> &Arc<[u8]> {
        let cell = match version {
            Version::Resp2 => &self.resp2,
            Version::Resp3 => &self.resp3,
        };
        cell.get_or_init(|| self.encode(version))
    }

    fn encode(&self, version: Version) -> Arc<[u8]> {
        let mut reply = Reply::new(version);
        match self.via {
            Via::Channel => head(&mut reply, 3, b"message"),
            Via::Pattern(pattern) => {
                head(&mut reply, 4, b"pmessage");
                reply.bulk(pattern);
            }
            Via::Shard => head(&mut reply, 3, b"smessage"),
        }
        reply.bulk(self.channel);
        reply.bulk(self.payload);
        reply.bytes().into()
    }
}

fn head(reply: &mut Reply, len: usize, word: &[u8]) {
    reply.push(len);
    reply.bulk(word);
}
