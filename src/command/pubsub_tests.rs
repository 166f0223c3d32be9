//! What publish and subscribe promise.

use crate::command::testing::Client;
use crate::protocol::Version;

fn with(version: Version) -> (Client, Client) {
    let publisher = Client::new();
    let subscriber = Client::of(&publisher.server, 2, version);
    (publisher, subscriber)
}

#[test]
fn each_channel_is_confirmed_with_the_number_of_subscriptions() {
    let (_, mut s) = with(Version::Resp2);
    assert_eq!(s.run("SUBSCRIBE a b a"), "*3|$9|subscribe|$1|a|:1|*3|$9|subscribe|$1|b|:2|*3|$9|subscribe|$1|a|:2|");
    assert_eq!(s.run("PSUBSCRIBE p*"), "*3|$10|psubscribe|$2|p*|:3|");
    assert_eq!(s.run("SSUBSCRIBE s"), "*3|$10|ssubscribe|$1|s|:1|");
    assert_eq!(s.run("UNSUBSCRIBE a x"), "*3|$11|unsubscribe|$1|a|:2|*3|$11|unsubscribe|$1|x|:2|");
    assert_eq!(s.run("UNSUBSCRIBE"), "*3|$11|unsubscribe|$1|b|:1|");
    assert_eq!(s.run("PUNSUBSCRIBE"), "*3|$12|punsubscribe|$2|p*|:0|");
    assert_eq!(s.run("SUNSUBSCRIBE s"), "*3|$12|sunsubscribe|$1|s|:0|");
    assert_eq!(s.run("UNSUBSCRIBE"), "*3|$11|unsubscribe|$-1|:0|");
}

#[test]
fn resp3_gets_pushes_and_nulls_of_its_own() {
    let (mut p, mut s) = with(Version::Resp3);
    assert_eq!(s.run("SUBSCRIBE a"), ">3|$9|subscribe|$1|a|:1|");
    assert_eq!(p.run("PUBLISH a hi"), ":1|");
    assert_eq!(s.messages(), ">3|$7|message|$1|a|$2|hi|");
    assert_eq!(s.run("GET k"), "_|");
    s.run("UNSUBSCRIBE");
    assert_eq!(s.run("UNSUBSCRIBE"), ">3|$11|unsubscribe|_|:0|");
}

#[test]
fn a_resp2_connection_with_a_subscription_may_do_little_else() {
    let (_, mut s) = with(Version::Resp2);
    s.run("SSUBSCRIBE a");
    let allowed = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    assert_eq!(s.run("GET k"), format!("-ERR Can't execute 'get': {allowed}|"));
    assert_eq!(s.run("PubSub channels"), format!("-ERR Can't execute 'pubsub|channels': {allowed}|"));
    assert_eq!(s.run("EXEC"), format!("-EXECABORT Transaction discarded because of: Can't execute 'exec': {allowed}|"));
    s.run("SUNSUBSCRIBE");
    assert_eq!(s.run("GET k"), "$-1|");
}

#[test]
fn a_message_comes_once_for_the_channel_and_once_for_each_matching_pattern() {
    let (mut p, mut s) = with(Version::Resp2);
    s.run("SUBSCRIBE news.it");
    s.run("PSUBSCRIBE news.* other.*");
    assert_eq!(p.run("PUBLISH news.it x"), ":2|");
    assert_eq!(s.messages(), "*3|$7|message|$7|news.it|$1|x|*4|$8|pmessage|$6|news.*|$7|news.it|$1|x|");
    assert_eq!(p.run("SPUBLISH news.it x"), ":0|");
    assert_eq!(s.messages(), "");
}

#[test]
fn messages_published_before_unsubscribing_come_before_its_reply() {
    let (mut p, mut s) = with(Version::Resp2);
    s.run("SUBSCRIBE a");
    p.run("PUBLISH a 1");
    assert_eq!(s.run("UNSUBSCRIBE a"), "*3|$7|message|$1|a|$1|1|*3|$11|unsubscribe|$1|a|:0|");
    assert_eq!(p.run("PUBLISH a 2"), ":0|");
    assert_eq!(s.messages(), "");
}

#[test]
fn pubsub_tells_who_listens() {
    let (mut p, mut s) = with(Version::Resp2);
    s.run("SUBSCRIBE a1 b1");
    s.run("PSUBSCRIBE x* y*");
    s.run("SSUBSCRIBE s1");
    assert_eq!(p.run("PUBSUB CHANNELS a*"), "*1|$2|a1|");
    assert_eq!(p.run("PUBSUB NUMSUB a1 zz"), "*4|$2|a1|:1|$2|zz|:0|");
    assert_eq!(p.run("PUBSUB NUMSUB"), "*0|");
    assert_eq!(p.run("PUBSUB NUMPAT"), ":2|");
    assert_eq!(p.run("PUBSUB SHARDCHANNELS"), "*1|$2|s1|");
    assert_eq!(p.run("PUBSUB SHARDNUMSUB s1 a1"), "*4|$2|s1|:1|$2|a1|:0|");
    assert_eq!(p.run("PUBSUB Channels a b"), "-ERR unknown subcommand or wrong number of arguments for 'Channels'. Try PUBSUB HELP.|");
    p.server.hub.leave(&mut s.session.subscriptions, 2);
    assert_eq!(p.run("PUBSUB CHANNELS"), "*0|");
    assert_eq!(p.run("PUBSUB NUMPAT"), ":0|");
}

#[test]
fn keyspace_events_are_published_for_the_classes_asked_for() {
    let (mut p, mut s) = with(Version::Resp2);
    s.run("PSUBSCRIBE __key*");
    p.run("SET k v");
    assert_eq!(s.messages(), "");
    p.server.config.set(&[("notify-keyspace-events", "K$")]).unwrap();
    p.server.config_changed();
    p.run("SET k v");
    assert_eq!(s.messages(), "*4|$8|pmessage|$6|__key*|$16|__keyspace@0__:k|$3|set|");
    p.run("DEL k");
    assert_eq!(s.messages(), "");
    p.server.config.set(&[("notify-keyspace-events", "Eg")]).unwrap();
    p.server.config_changed();
    p.session.db.0 = 3;
    p.run("SET k v");
    p.run("DEL k");
    assert_eq!(s.messages(), "*4|$8|pmessage|$6|__key*|$18|__keyevent@3__:del|$1|k|");
}

#[test]
fn events_of_a_failed_command_are_not_published() {
    let (mut p, mut s) = with(Version::Resp2);
    p.server.config.set(&[("notify-keyspace-events", "KEA")]).unwrap();
    p.server.config_changed();
    s.run("PSUBSCRIBE __key*");
    p.run("MULTI");
    p.run("EXPIRE k nonumber");
    p.run("EXEC");
    assert_eq!(s.messages(), "");
}
