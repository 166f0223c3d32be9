//! Publish and subscribe.

use std::sync::Arc;

use super::{Call, CommandError, Effect, Flags, Group, Keys, Spec};
use crate::pubsub::{Kind, Mailbox};

const LISTEN: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::WHILE_SUBSCRIBED);
const SEND: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::FAST);
const ASK: Flags = Flags::PUBSUB.and(Flags::LOADING);

const fn row(name: &'static str, arity: i32, flags: Flags, since: &'static str, summary: &'static str, handler: super::Handler) -> Spec {
    let complexity = "O(N), N channels or patterns";
    Spec { name, arity, flags, keys: Keys::None, group: Group::PubSub, since, complexity, summary, handler }
}

/// The family's rows.
pub const SPECS: &[Spec] = &[
    row("subscribe", -2, LISTEN, "2.0.0", "Listens to channels.", |call| subscribe(call, Kind::Channel, "subscribe")),
    row("unsubscribe", -1, LISTEN, "2.0.0", "Stops listening to channels; to all of them if none is named.", |call| {
        unsubscribe(call, Kind::Channel, "unsubscribe")
    }),
    row("psubscribe", -2, LISTEN, "2.0.0", "Listens to all channels that match patterns.", |call| {
        subscribe(call, Kind::Pattern, "psubscribe")
    }),
    row("punsubscribe", -1, LISTEN, "2.0.0", "Stops listening to patterns; to all of them if none is named.", |call| {
        unsubscribe(call, Kind::Pattern, "punsubscribe")
    }),
    row("ssubscribe", -2, LISTEN, "7.0.0", "Listens to shard channels.", |call| subscribe(call, Kind::Shard, "ssubscribe")),
    row("sunsubscribe", -1, LISTEN, "7.0.0", "Stops listening to shard channels; to all of them if none is named.", |call| {
        unsubscribe(call, Kind::Shard, "sunsubscribe")
    }),
    row("publish", 3, SEND, "2.0.0", "Sends a message to a channel; returns how many receive it.", |call| publish(call, false)),
    row("spublish", 3, SEND, "7.0.0", "Sends a message to a shard channel; returns how many receive it.", |call| publish(call, true)),
    row("pubsub|channels", -2, ASK, "2.8.0", "Lists the channels that someone listens to.", |call| names(call, Kind::Channel)),
    row("pubsub|numsub", -2, ASK, "2.8.0", "Counts the listeners of each channel given.", |call| counts(call, Kind::Channel)),
    row("pubsub|numpat", 2, ASK, "2.8.0", "Counts the patterns that someone listens to.", |call| {
        call.reply.integer(call.server.hub.count(Kind::Pattern) as i64);
        Ok(())
    }),
    row("pubsub|shardchannels", -2, ASK, "7.0.0", "Lists the shard channels that someone listens to.", |call| names(call, Kind::Shard)),
    row("pubsub|shardnumsub", -2, ASK, "7.0.0", "Counts the listeners of each shard channel given.", |call| counts(call, Kind::Shard)),
];

fn subscribe(call: &mut Call<'_, '_>, kind: Kind, word: &str) -> Result<(), CommandError> {
    let no_mailbox = CommandError::Text("ERR this connection cannot receive messages");
    let mailbox: Arc<dyn Mailbox> = call.session.mailbox.clone().ok_or(no_mailbox)?;
    for name in &call.args[1..] {
        call.server.hub.subscribe(&mut call.session.subscriptions, kind, name, call.session.id, &mailbox);
        confirm(call, kind, word, Some(name));
    }
    Ok(())
}

fn unsubscribe(call: &mut Call<'_, '_>, kind: Kind, word: &str) -> Result<(), CommandError> {
    let all: Vec<Box<[u8]>>;
    let names: Vec<&[u8]> = if call.args.len() > 1 {
        call.args[1..].to_vec()
    } else {
        all = call.session.subscriptions.of(kind).iter().cloned().collect();
        all.iter().map(AsRef::as_ref).collect()
    };
    for name in &names {
        call.server.hub.unsubscribe(&mut call.session.subscriptions, kind, name, call.session.id);
        // What was published before this comes out before its reply, and nothing after it.
        if let Some(mailbox) = &call.session.mailbox {
            mailbox.take_into(call.reply.buffer_mut());
        }
        confirm(call, kind, word, Some(name));
    }
    if names.is_empty() {
        confirm(call, kind, word, None);
    }
    Ok(())
}

/// The reply to (un)subscribing: one for each name, with the number of subscriptions that are left.
fn confirm(call: &mut Call<'_, '_>, kind: Kind, word: &str, name: Option<&[u8]>) {
    call.reply.push(3);
    call.reply.bulk(word.as_bytes());
    match name {
        Some(name) => call.reply.bulk(name),
        None => call.reply.null(),
    }
    call.reply.integer(call.session.subscriptions.count(kind) as i64);
}

/// In a transaction the message leaves after the commit, as the commands may be run again from the start until then.
fn publish(call: &mut Call<'_, '_>, shard: bool) -> Result<(), CommandError> {
    let (channel, payload) = (call.arg(1), call.arg(2));
    let receivers = if call.session.queue.is_running() {
        call.effects.push(Effect::Publish { shard, channel: channel.to_vec(), payload: payload.to_vec() });
        call.server.hub.receivers(shard, channel)
    } else {
        call.server.hub.publish(shard, channel, payload)
    };
    call.reply.integer(receivers as i64);
    Ok(())
}

fn names(call: &mut Call<'_, '_>, kind: Kind) -> Result<(), CommandError> {
    if call.args.len() > 3 {
        return Err(too_many(call.arg(1)));
    }
    let names = call.server.hub.names(kind, call.args.get(2).copied());
    call.reply.array(names.len());
    for name in &names {
        call.reply.bulk(name);
    }
    Ok(())
}

/// Redis's text for this one: it names the subcommand as the client wrote it.
fn too_many(subcommand: &[u8]) -> CommandError {
    let subcommand = String::from_utf8_lossy(subcommand);
    CommandError::Owned(format!("ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try PUBSUB HELP."))
}

fn counts(call: &mut Call<'_, '_>, kind: Kind) -> Result<(), CommandError> {
    call.reply.array((call.args.len() - 2) * 2);
    for name in &call.args[2..] {
        call.reply.bulk(name);
        call.reply.integer(call.server.hub.subscribers(kind, name) as i64);
    }
    Ok(())
}

#[cfg(test)]
#[path = "pubsub_tests.rs"]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
