//! What the commands on keys of any type promise; the replies are those of redis-server 7.0.15.

use crate::command::testing::Client;
use crate::protocol::Version;

/// Runs each request and compares its reply.
fn script(client: &mut Client, steps: &[(&str, &str)]) {
    for (request, reply) in steps {
        assert_eq!(client.run(request), *reply, "{request}");
    }
}

#[test]
fn keys_are_counted_and_removed() {
    let mut c = Client::new();
    let steps = [
        ("MSET a 1 b 2 c 3", "+OK|"),
        ("EXISTS a a nokey b", ":3|"),
        ("TOUCH a nokey", ":1|"),
        ("TYPE a", "+string|"),
        ("TYPE nokey", "+none|"),
        ("DEL a a nokey", ":1|"),
        ("UNLINK b c", ":2|"),
        ("RANDOMKEY", "$-1|"),
        ("KEYS *", "*0|"),
        ("SCAN 0", "*2|$1|0|*0|"),
    ];
    script(&mut c, &steps);
    assert_eq!(Client::of(&c.server, 2, Version::Resp3).run("RANDOMKEY"), "_|");
}

#[test]
fn keys_are_found_by_pattern() {
    let mut c = Client::new();
    c.run("MSET key1 1 key2 2 other 3");
    assert_eq!(c.run("KEYS o*"), "*1|$5|other|");
    assert!(c.run("KEYS key?").starts_with("*2|"));
    assert_eq!(c.run("SCAN 0 MATCH oth[a-f]r COUNT 1000"), "*2|$1|0|*1|$5|other|");
    assert_eq!(c.run("SCAN 0 TYPE hash COUNT 1000"), "*2|$1|0|*0|");
    assert!(c.run("SCAN 0 TYPE STRING COUNT 1000 MATCH *").starts_with("*2|$1|0|*3|"));
}

#[test]
fn scan_refuses_what_redis_refuses() {
    let mut c = Client::new();
    let steps = [
        ("SCAN x", "-ERR invalid cursor|"),
        ("SCAN 18446744073709551616", "-ERR invalid cursor|"),
        ("SCAN 0 COUNT 0", "-ERR syntax error|"),
        ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range|"),
        ("SCAN 0 MATCH", "-ERR syntax error|"),
        ("SCAN 0 FOO 1", "-ERR syntax error|"),
    ];
    script(&mut c, &steps);
}

#[test]
fn scan_returns_every_key_once_when_nothing_changes() {
    let mut c = Client::new();
    for i in 0..500 {
        c.run(&format!("SET key:{i} v"));
    }
    let mut seen = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = c.run(&format!("SCAN {cursor} COUNT 7"));
        let mut lines = reply.split('|').map(str::to_owned);
        cursor = lines.nth(2).unwrap_or_default();
        seen.extend(lines.filter(|line| line.starts_with("key:")));
        if cursor == "0" {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen.len(), 500);
    seen.dedup();
    assert_eq!(seen.len(), 500);
}

#[test]
fn renaming_takes_value_and_expiry_along() {
    let mut c = Client::new();
    let steps = [
        ("RENAME nokey b", "-ERR no such key|"),
        ("RENAMENX nokey b", "-ERR no such key|"),
        ("SET a 1 PXAT 99999999999999", "+OK|"),
        ("SET b 2", "+OK|"),
        ("RENAMENX a b", ":0|"),
        ("RENAME a a", "+OK|"),
        ("RENAMENX a a", ":0|"),
        ("RENAME a b", "+OK|"),
        ("GET b", "$1|1|"),
        ("PEXPIRETIME b", ":99999999999999|"),
        ("EXISTS a", ":0|"),
        ("RENAMENX b c", ":1|"),
    ];
    script(&mut c, &steps);
}

#[test]
fn copying_and_moving_reach_other_databases() {
    let mut c = Client::new();
    let steps = [
        ("SET a 1 PXAT 99999999999999", "+OK|"),
        ("COPY a a", "-ERR source and destination objects are the same|"),
        ("COPY a a DB 1", ":1|"),
        ("COPY a a DB 1", ":0|"),
        ("COPY a a DB 1 REPLACE", ":1|"),
        ("COPY nokey b", ":0|"),
        ("COPY a b DB 16", "-ERR DB index is out of range|"),
        ("COPY a b DB 99999999999", "-ERR value is out of range, value must between -2147483648 and 2147483647|"),
        ("COPY a b DB", "-ERR syntax error|"),
        ("MOVE a 0", "-ERR source and destination objects are the same|"),
        ("MOVE a 1", ":0|"),
        ("MOVE a -1", "-ERR DB index is out of range|"),
        ("MOVE a 2", ":1|"),
        ("MOVE a 2", ":0|"),
        ("EXISTS a", ":0|"),
    ];
    script(&mut c, &steps);
    for db in [1, 2] {
        c.session.db = esker_storage::types::Db(db);
        assert_eq!((c.run("GET a"), c.run("PEXPIRETIME a")), ("$1|1|".into(), ":99999999999999|".into()));
    }
}

#[test]
fn expiry_is_set_under_conditions() {
    let mut c = Client::new();
    let steps = [
        ("EXPIRE nokey 10", ":0|"),
        ("SET a 1", "+OK|"),
        ("TTL a", ":-1|"),
        ("PTTL nokey", ":-2|"),
        ("PEXPIREAT a 99999999999000 XX", ":0|"),
        ("PEXPIREAT a 99999999999000 GT", ":0|"),
        ("PEXPIREAT a 99999999999000 LT", ":1|"),
        ("PEXPIREAT a 99999999999001 NX", ":0|"),
        ("PEXPIREAT a 99999999999000 GT", ":0|"),
        ("PEXPIREAT a 99999999999500 xx gt", ":1|"),
        ("EXPIRETIME a", ":100000000000|"),
        ("PEXPIRETIME a", ":99999999999500|"),
        ("PERSIST a", ":1|"),
        ("PERSIST a", ":0|"),
        ("EXPIRE a 100", ":1|"),
        ("TTL a", ":100|"),
        ("EXPIREAT a 1", ":1|"),
        ("EXISTS a", ":0|"),
    ];
    script(&mut c, &steps);
}

#[test]
fn expiry_refuses_what_redis_refuses() {
    let mut c = Client::new();
    let steps = [
        ("EXPIRE a x", "-ERR value is not an integer or out of range|"),
        ("EXPIRE a 1 FOO", "-ERR Unsupported option FOO|"),
        ("EXPIRE a 1 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible|"),
        ("EXPIRE a 1 GT LT", "-ERR GT and LT options at the same time are not compatible|"),
        ("EXPIRE a 9223372036854775807", "-ERR invalid expire time in 'expire' command|"),
        ("PExpire a 9223372036854775807", "-ERR invalid expire time in 'pexpire' command|"),
        ("EXPIREAT a 9223372036854776", "-ERR invalid expire time in 'expireat' command|"),
    ];
    script(&mut c, &steps);
}

#[test]
fn object_tells_what_redis_would() {
    let mut c = Client::new();
    c.run_args(&[b"SET", b"long", &[b'x'; 45]]);
    let steps = [
        ("MSET n 9223372036854775807 s 007 shared 9999 alone 10000", "+OK|"),
        ("OBJECT ENCODING n", "$3|int|"),
        ("OBJECT ENCODING s", "$6|embstr|"),
        ("OBJECT ENCODING long", "$3|raw|"),
        ("OBJECT ENCODING nokey", "$-1|"),
        ("OBJECT REFCOUNT shared", ":2147483647|"),
        ("OBJECT REFCOUNT alone", ":1|"),
        ("OBJECT IDLETIME n", ":0|"),
        ("OBJECT FREQ nokey", "$-1|"),
    ];
    script(&mut c, &steps);
    assert!(c.run("OBJECT FREQ n").starts_with("-ERR An LFU maxmemory policy is not selected"));
}

#[test]
fn dump_and_restore_are_inverse() {
    let mut c = Client::new();
    let dump = |c: &mut Client, key: &[u8]| {
        let reply = c.run_args(&[b"DUMP", key]);
        let head = reply.iter().position(|b| *b == b'\n').map_or(0, |end| end + 1);
        reply[head..reply.len() - 2].to_vec()
    };
    c.run("SET a hello");
    let payload = dump(&mut c, b"a");
    assert_eq!(c.run_args(&[b"RESTORE", b"a", b"0", &payload]), b"-BUSYKEY Target key name already exists.\r\n");
    assert_eq!(c.run_args(&[b"RESTORE", b"b", b"99999999999999", &payload, b"ABSTTL", b"IDLETIME", b"5"]), b"+OK\r\n");
    assert_eq!((c.run("GET b"), c.run("PEXPIRETIME b")), ("$5|hello|".into(), ":99999999999999|".into()));
    assert_eq!(dump(&mut c, b"b"), payload);
    // A time in the past removes what was there.
    assert_eq!(c.run_args(&[b"RESTORE", b"b", b"1", &payload, b"ABSTTL", b"REPLACE"]), b"+OK\r\n");
    assert_eq!(c.run("EXISTS b"), ":0|");
    assert_eq!(c.run("DUMP b"), "$-1|");
    let steps = [
        ("RESTORE c 0 junk", "-ERR DUMP payload version or checksum are wrong|"),
        ("RESTORE c -1 junk", "-ERR Invalid TTL value, must be >= 0|"),
        ("RESTORE c 0 junk FREQ 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255|"),
        ("RESTORE c 0 junk IDLETIME -1", "-ERR Invalid IDLETIME value, must be >= 0|"),
        ("RESTORE c 0 junk FREQ 1 IDLETIME 1", "-ERR syntax error|"),
    ];
    script(&mut c, &steps);
}

#[test]
fn events_name_the_database_in_which_they_happen() {
    let mut c = Client::new();
    let mut s = Client::of(&c.server, 2, Version::Resp2);
    c.run("CONFIG SET notify-keyspace-events Eg");
    c.run("SET a 1");
    s.run("PSUBSCRIBE __keyevent*");
    let mut events = |request: &str| -> Vec<String> {
        c.run(request);
        let messages = s.messages();
        let lines: Vec<_> = messages.split('|').collect();
        lines.chunks(9).filter(|m| m.len() == 9).map(|m| format!("{} {}", m[6].trim_start_matches("__keyevent@"), m[8])).collect()
    };
    assert_eq!(events("RENAME a b"), ["0__:rename_from a", "0__:rename_to b"]);
    assert_eq!(events("COPY b b DB 3"), ["3__:copy_to b"]);
    assert_eq!(events("MOVE b 4"), ["0__:move_from b", "4__:move_to b"]);
    assert_eq!(events("SET b 1"), [] as [&str; 0]);
    assert_eq!(events("EXPIRE b 100"), ["0__:expire b"]);
    assert_eq!(events("PERSIST b"), ["0__:persist b"]);
    assert_eq!(events("EXPIRE b -1"), ["0__:del b"]);
    assert_eq!(events("DEL b"), [] as [&str; 0]);
}
