//! Strings and numbers through a client; what they answer is what redis-server 7.0 answered.

use crate::command::testing::Client;

/// Runs the lines on an empty server and checks each reply.
fn check(lines: &[(&str, &str)]) {
    let mut client = Client::new();
    for (line, reply) in lines {
        assert_eq!(client.run(line), *reply, "{line}");
    }
}

#[test]
fn set_obeys_its_conditions() {
    check(&[
        ("SET k 1 XX", "$-1|"),
        ("SET k 1 NX", "+OK|"),
        ("SET k 2 NX", "$-1|"),
        ("SET k 2 NX GET", "$1|1|"),
        ("SET k 2 XX GET", "$1|1|"),
        ("GET k", "$1|2|"),
        ("SET n 1 GET", "$-1|"),
        ("SETNX k 3", ":0|"),
        ("SETNX m 3", ":1|"),
        ("SET k 1 NX XX", "-ERR syntax error|"),
        ("GETSET k 9", "$1|2|"),
        ("GETDEL k", "$1|9|"),
        ("GETDEL k", "$-1|"),
    ]);
}

#[test]
fn set_replaces_the_expiry_unless_told_to_keep_it() {
    check(&[
        ("SET k 1 EX 100", "+OK|"),
        ("SET k 2 KEEPTTL", "+OK|"),
        ("TTL k", ":100|"),
        ("INCR k", ":3|"),
        ("APPEND k 0", ":2|"),
        ("SETRANGE k 0 4", ":2|"),
        ("SETBIT k 15 1", ":0|"),
        ("TTL k", ":100|"),
        ("GETEX k PERSIST", "$2|41|"),
        ("TTL k", ":-1|"),
        ("GETEX k PX 200000", "$2|41|"),
        ("TTL k", ":200|"),
        ("SET k 5", "+OK|"),
        ("TTL k", ":-1|"),
        ("GETEX k EXAT 1", "$1|5|"),
        ("EXISTS k", ":0|"),
        ("SET k 1 EXAT 1", "+OK|"),
        ("GET k", "$-1|"),
    ]);
}

#[test]
fn wrong_expiry_times_name_the_command() {
    check(&[
        ("SET k 1 EX 0", "-ERR invalid expire time in 'set' command|"),
        ("SET k 1 PX 9223372036854775807", "-ERR invalid expire time in 'set' command|"),
        ("SET k 1 EX x", "-ERR value is not an integer or out of range|"),
        ("SETEX k -1 1", "-ERR invalid expire time in 'setex' command|"),
        ("PSETEX k 0 1", "-ERR invalid expire time in 'psetex' command|"),
        ("GETEX k EX 0", "$-1|"),
        ("SET k 1", "+OK|"),
        ("GETEX k EX 0", "-ERR invalid expire time in 'getex' command|"),
    ]);
}

#[test]
fn several_keys_are_set_together_or_not_at_all() {
    check(&[
        ("MSET a 1 b 2", "+OK|"),
        ("MGET a x b", "*3|$1|1|$-1|$1|2|"),
        ("MSETNX c 3 b 3", ":0|"),
        ("EXISTS c", ":0|"),
        ("MSETNX c 3 d 4", ":1|"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command|"),
        ("MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command|"),
    ]);
}

#[test]
fn parts_of_strings_are_read_and_written() {
    check(&[
        ("SETRANGE k 0 x", ":1|"),
        ("SETRANGE k 3 y", ":4|"),
        ("GET k", "$4|x\0\0y|"),
        ("SETRANGE k -1 y", "-ERR offset is out of range|"),
        ("SETRANGE k 536870912 y", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)|"),
        ("SET k hello", "+OK|"),
        ("GETRANGE k 1 -2", "$3|ell|"),
        ("GETRANGE k -100 100", "$5|hello|"),
        ("SUBSTR k 5 9", "$0||"),
        ("GETRANGE k -1 -2", "$0||"),
        ("GETRANGE none 0 -1", "$0||"),
        ("APPEND k !", ":6|"),
        ("STRLEN k", ":6|"),
        ("STRLEN none", ":0|"),
    ]);
}

#[test]
fn numbers_are_strict_and_do_not_overflow() {
    check(&[
        ("INCR n", ":1|"),
        ("DECRBY n 3", ":-2|"),
        ("INCRBY n 9223372036854775807", ":9223372036854775805|"),
        ("INCRBY n 3", "-ERR increment or decrement would overflow|"),
        ("DECRBY n -9223372036854775808", "-ERR decrement would overflow|"),
        ("SET n 01", "+OK|"),
        ("INCR n", "-ERR value is not an integer or out of range|"),
        ("INCRBYFLOAT n 0.5", "$3|1.5|"),
        ("INCRBYFLOAT n x", "-ERR value is not a valid float|"),
        ("INCRBYFLOAT n inf", "-ERR increment would produce NaN or Infinity|"),
        ("INCRBYFLOAT n -5.0e3", "$7|-4998.5|"),
    ]);
}

#[test]
fn common_subsequences_are_told_in_three_forms() {
    check(&[
        ("MSET a ohmytext b mynewtext", "+OK|"),
        ("LCS a b", "$6|mytext|"),
        ("LCS a b LEN", ":6|"),
        ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", "*4|$7|matches|*1|*3|*2|:4|:7|*2|:5|:8|:4|$3|len|:6|"),
        ("LCS a b IDX LEN", "-ERR If you want both the length and indexes, please just use IDX.|"),
        ("LCS a none", "$0||"),
    ]);
}
