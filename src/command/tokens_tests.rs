//! Tokens, without connections.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::command::Outcome;
use crate::command::testing::Client;
use crate::protocol::Version;

fn token_in(reply: &str) -> String {
    reply.split('|').nth(1).unwrap().to_owned()
}

fn lsn_of(token: &str) -> u64 {
    token.rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn a_connection_names_its_own_newest_write_and_else_the_newest_there_is() {
    let mut writer = Client::new();
    let mut other = Client::of(&writer.server, 2, Version::Resp2);
    writer.run("MSET a 1 b 2");
    let before = lsn_of(&token_in(&writer.run("CLIENT LSN")));
    let writer_id = writer.server.shard().log().lineage().epochs[0].writer.0;
    assert_eq!(token_in(&other.run("CLIENT LSN")), format!("0:1-{writer_id:016x}:{before}"));
    writer.session.written = esker_storage::types::Lsn(before);
    other.run("SET c 3");
    assert_eq!(lsn_of(&token_in(&writer.run("CLIENT LSN"))), before, "not the other's");
    assert_eq!(lsn_of(&token_in(&Client::of(&writer.server, 3, Version::Resp2).run("CLIENT LSN"))), before + 1);
}

#[test]
fn a_write_of_the_same_batch_counts() {
    let mut client = Client::new();
    let (server, shard) = (Arc::clone(&client.server), client.server.shard_owned());
    let mut other = Client::of(&server, 2, Version::Resp2);
    let mut reply = crate::protocol::Reply::new(Version::Resp2);
    let mut turn = crate::command::Turn::new(&server, &shard, 0);
    turn.run(&mut client.session, &[b"SET", b"k", b"v"], &mut reply);
    let written = turn.lsn;
    other.run("SET k w");
    let mark = reply.mark();
    turn.run(&mut client.session, &[b"CLIENT", b"LSN"], &mut reply);
    let shown = String::from_utf8_lossy(&reply.bytes()[mark..]).replace("\r\n", "|");
    turn.finish();
    assert_eq!(lsn_of(&token_in(&shown)), written.0);
}

#[test]
fn what_is_there_is_not_waited_for() {
    let mut client = Client::new();
    client.run("SET k v");
    let token = token_in(&client.run("CLIENT LSN"));
    assert_eq!(client.run(&format!("WAITLSN {token} 0:0:0 0")), ":2|");
    assert_eq!(client.outcome, Outcome::Done);
}

#[test]
fn what_may_come_is_waited_for_and_in_a_transaction_it_is_not() {
    let mut client = Client::new();
    let newest = lsn_of(&token_in(&client.run("CLIENT LSN")));
    let ahead = [format!("0:1:{}", newest + 1), "0:2:1".to_owned()];
    for token in &ahead {
        assert_eq!(client.run(&format!("WAITLSN {token} 0:1:1 50")), "");
        let wanted = Awaited {
            tokens: vec![Token::parse(token.as_bytes()).unwrap(), Token::parse(b"0:1:1").unwrap()],
            patience: Some(Duration::from_millis(50)),
        };
        assert_eq!(client.effects, [Effect::AwaitTokens(wanted)]);
        client.run("MULTI");
        client.run(&format!("WAITLSN 0:1:1 {token} 0"));
        assert_eq!(client.run("EXEC"), "*1|:1|");
    }
    client.run("WAITLSN 0:2:1 0");
    assert!(matches!(&client.effects[..], [Effect::AwaitTokens(Awaited { patience: None, .. })]));
}

#[test]
fn what_never_comes_is_an_error_at_once() {
    let mut client = Client::new();
    let found = client.run("WAITLSN 0:1:1 0:0:1 0");
    assert_eq!(found, "-ERR token 0:0:1 is not in the history of this node: the entry with LSN 1 here is of epoch 1|");
    assert!(client.run("WAITLSN 0:1-0000000000000000:1 0").contains("promoted apart"));
    assert!(client.run("WAITLSN 1:1:1 0").starts_with("-ERR token 1:1:1 is not in the history of this node: shard 1 is not here"));
}

#[test]
fn bad_arguments_are_told() {
    let mut client = Client::new();
    assert_eq!(client.run("WAITLSN x 0"), "-ERR 'x' is no token: shard:epoch-writer:lsn is expected|");
    assert_eq!(client.run("WAITLSN 0:1:1 x"), "-ERR timeout is not an integer or out of range|");
    assert_eq!(client.run("WAITLSN 0:1:1 -1"), "-ERR timeout is negative|");
    assert_eq!(client.run("WAITLSN 0:1:1"), "-ERR wrong number of arguments for 'waitlsn' command|");
    client.run("MULTI");
    assert!(client.run("CLIENT LSN").starts_with("-ERR"));
}

#[test]
fn a_wait_ends_when_the_entry_is_there_and_when_it_takes_too_long() {
    let mut client = Client::new();
    let newest = lsn_of(&token_in(&client.run("CLIENT LSN")));
    let tokens = vec![Token::parse(format!("0:1:{}", newest + 1).as_bytes()).unwrap()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let server = Arc::clone(&client.server);
    runtime.block_on(async {
        let soon = Awaited { tokens: tokens.clone(), patience: Some(Duration::from_millis(30)) };
        assert_eq!(server.reached(&soon).await, Ok(0));
        let ever = Awaited { tokens, patience: None };
        let (reached, ()) = tokio::join!(server.reached(&ever), async {
            tokio::task::yield_now().await;
            client.run("MSET k v");
        });
        assert_eq!(reached, Ok(1));
    });
}
