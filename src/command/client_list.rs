//! How CLIENT LIST describes a client, and how CLIENT LIST and CLIENT KILL choose clients.

use std::fmt::Write;

use esker_storage::types::UnixMillis;

use super::{CommandError, parse_integer};
use crate::net::{Class, Client, Shown};
use crate::protocol::Version;

/// What a client object takes besides its buffers, roughly.
const CLIENT_BYTES: usize = 1024;

/// Appends the line of a client, with Redis's fields in its order; those of the library at the end, as from Redis 7.2 on.
pub(super) fn describe(client: &Client, now: UnixMillis, text: &mut String) {
    let output = client.unsent();
    let shown = client.shown();
    let memory = CLIENT_BYTES + shown.query_buffer + shown.query_buffer_free + output + shown.queued_bytes;
    let seconds = |since: UnixMillis| now.0.saturating_sub(since.0).max(0) / 1000;
    // A String takes everything.
    let _ = writeln!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} qbuf={} qbuf-free={} \
         argv-mem={} multi-mem={} rbs=0 rbp=0 obl=0 oll={} omem={} tot-mem={} events={} cmd={} user={} redir=-1 resp={} lib-name={} \
         lib-ver={}",
        client.id,
        client.address,
        client.local_address,
        client.descriptor,
        String::from_utf8_lossy(&shown.name),
        seconds(client.connected_at),
        seconds(shown.last_interaction),
        flags(client, &shown),
        shown.db.0,
        shown.channels,
        shown.patterns,
        shown.shard_channels,
        shown.queued.map_or(-1, |count| count as i64),
        shown.query_buffer,
        shown.query_buffer_free,
        shown.arguments,
        shown.queued_bytes,
        usize::from(output > 0),
        output,
        memory,
        if output > 0 { "rw" } else { "r" },
        if shown.command.is_empty() { "NULL" } else { shown.command },
        if shown.authenticated { "default" } else { "(superuser)" },
        if shown.version == Version::Resp3 { 3 } else { 2 },
        String::from_utf8_lossy(&shown.library_name),
        String::from_utf8_lossy(&shown.library_version),
    );
}

fn flags(client: &Client, shown: &Shown) -> String {
    let subscribed = shown.channels + shown.patterns + shown.shard_channels > 0;
    let letters = [
        (shown.monitor, 'O'),
        (client.is_replica(), 'S'),
        (subscribed, 'P'),
        (shown.queued.is_some(), 'x'),
        (shown.blocked, 'b'),
        (shown.closing, 'c'),
        (client.is_killed(), 'A'),
        (shown.no_evict, 'e'),
        (shown.no_touch, 'T'),
    ];
    let text: String = letters.iter().filter(|(on, _)| *on).map(|(_, letter)| letter).collect();
    if text.is_empty() { "N".to_owned() } else { text }
}

/// The types of clients that Redis tells apart; some do not exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One of the classes.
    Class(Class),
    /// Primaries: none are clients here.
    Nobody,
}

impl Kind {
    pub(super) fn parse(name: &[u8]) -> Result<Self, CommandError> {
        Ok(match name.to_ascii_lowercase().as_slice() {
            b"normal" => Self::Class(Class::Normal),
            b"pubsub" => Self::Class(Class::PubSub),
            b"replica" | b"slave" => Self::Class(Class::Replica),
            b"master" => Self::Nobody,
            _ => return Err(CommandError::Owned(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(name)))),
        })
    }

    pub(super) fn includes(self, client: &Client) -> bool {
        self == Self::Class(client.class())
    }
}

/// Which clients CLIENT KILL ends: those that pass every part.
#[derive(Debug, Default)]
pub(super) struct Filter {
    id: Option<i64>,
    address: Option<Vec<u8>>,
    local_address: Option<Vec<u8>>,
    kind: Option<Kind>,
    /// Whether the connection that asks is left alone.
    pub(super) skips_self: bool,
    /// The old form: one client, by address.
    pub(super) by_address_only: bool,
}

impl Filter {
    /// The old form.
    pub(super) fn of_address(address: &[u8]) -> Self {
        Self { address: Some(address.to_vec()), by_address_only: true, ..Self::default() }
    }

    pub(super) fn parse(mut options: &[&[u8]]) -> Result<Self, CommandError> {
        let mut filter = Self { skips_self: true, ..Self::default() };
        while let [option, rest @ ..] = options {
            let [value, rest @ ..] = rest else { return Err(CommandError::Syntax) };
            filter.add(option, value)?;
            options = rest;
        }
        Ok(filter)
    }

    fn add(&mut self, option: &[u8], value: &[u8]) -> Result<(), CommandError> {
        match option.to_ascii_lowercase().as_slice() {
            b"id" => {
                let id = parse_integer(value).filter(|id| *id > 0);
                self.id = Some(id.ok_or(CommandError::Text("ERR client-id should be greater than 0"))?);
            }
            b"type" => self.kind = Some(Kind::parse(value)?),
            b"addr" => self.address = Some(value.to_vec()),
            b"laddr" => self.local_address = Some(value.to_vec()),
            b"user" if value == b"default" => {}
            b"user" => return Err(CommandError::Owned(format!("ERR No such user '{}'", String::from_utf8_lossy(value)))),
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => self.skips_self = true,
            b"skipme" if value.eq_ignore_ascii_case(b"no") => self.skips_self = false,
            _ => return Err(CommandError::Syntax),
        }
        Ok(())
    }

    pub(super) fn includes(&self, client: &Client) -> bool {
        self.id.is_none_or(|id| u64::try_from(id) == Ok(client.id))
            && self.address.as_ref().is_none_or(|address| address == client.address.as_bytes())
            && self.local_address.as_ref().is_none_or(|address| address == client.local_address.as_bytes())
            && self.kind.is_none_or(|kind| kind.includes(client))
    }
}
