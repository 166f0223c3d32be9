//! Bitmaps through a client; what they answer is what redis-server 7.0 answered.

use crate::command::testing::Client;

/// Runs the lines on a server with `key` set, and checks each reply.
fn check(value: &[u8], lines: &[(&str, &str)]) {
    let mut client = Client::new();
    client.run_args(&[b"SET", b"key", value]);
    for (line, reply) in lines {
        assert_eq!(client.run(line), *reply, "{line}");
    }
}

#[test]
fn bits_are_set_and_read_beyond_the_end() {
    check(
        b"",
        &[
            ("GETBIT key 100", ":0|"),
            ("SETBIT key 7 1", ":0|"),
            ("SETBIT key 7 0", ":1|"),
            ("SETBIT key 23 0", ":0|"),
            ("STRLEN key", ":3|"),
            ("SETBIT key 1 2", "-ERR bit is not an integer or out of range|"),
            ("SETBIT key 4294967296 1", "-ERR bit offset is not an integer or out of range|"),
            ("GETBIT none 1", ":0|"),
        ],
    );
}

#[test]
fn bits_are_counted_in_ranges_of_bytes_and_bits() {
    check(
        b"foobar",
        &[
            ("BITCOUNT key", ":26|"),
            ("BITCOUNT key 1 1", ":6|"),
            ("BITCOUNT key 5 30 BIT", ":17|"),
            ("BITCOUNT key -2 -1 BYTE", ":7|"),
            ("BITCOUNT key 0", "-ERR syntax error|"),
            ("BITCOUNT none 0", ":0|"),
            ("BITCOUNT key 0 1 BITS", "-ERR syntax error|"),
        ],
    );
}

#[test]
fn the_end_given_decides_what_follows_the_last_clear_bit() {
    check(
        b"\xff\xff",
        &[
            ("BITPOS key 0", ":16|"),
            ("BITPOS key 0 0 -1", ":-1|"),
            ("BITPOS key 1 1", ":8|"),
            ("BITPOS key 1 3 12 BIT", ":3|"),
            ("BITPOS key 0 5", ":-1|"),
            ("BITPOS none 0", ":0|"),
            ("BITPOS none 1", ":-1|"),
            ("BITPOS key 2", "-ERR The bit argument must be 1 or 0.|"),
        ],
    );
}

#[test]
fn chunks_join_where_ranges_begin_and_end() {
    // Three chunks: the edges of the range lie in the first and the last.
    let mut value = vec![0xff; 700_000];
    value[600_000] = 0xfe;
    check(
        &value,
        &[
            ("BITCOUNT key", ":5599999|"),
            ("BITCOUNT key 3 5599996 BIT", ":5599993|"),
            ("BITPOS key 0 9 5599990 BIT", ":4800007|"),
            ("BITPOS key 0 4800008 -1 BIT", ":-1|"),
            ("BITPOS key 0 600001", ":5600000|"),
        ],
    );
}

#[test]
fn strings_are_combined_bit_by_bit() {
    check(
        b"abc",
        &[
            ("SET b ab", "+OK|"),
            ("BITOP AND to key b", ":3|"),
            ("GET to", "$3|ab\0|"),
            ("BITOP XOR to key key", ":3|"),
            ("BITCOUNT to", ":0|"),
            ("BITOP OR to none", ":0|"),
            ("EXISTS to", ":0|"),
            ("BITOP NOT to key b", "-ERR BITOP NOT must be called with a single source key.|"),
            ("BITOP NAND to key b", "-ERR syntax error|"),
        ],
    );
}

#[test]
fn fields_are_read_set_and_incremented() {
    check(
        b"",
        &[
            ("BITFIELD key SET i8 #1 -1 GET u8 8 GET u4 10", "*3|:0|:255|:15|"),
            ("BITFIELD key OVERFLOW FAIL INCRBY u2 100 10", "*1|$-1|"),
            ("STRLEN key", ":13|"),
            ("BITFIELD key OVERFLOW SAT INCRBY u2 100 10 OVERFLOW WRAP INCRBY u2 100 1", "*2|:3|:0|"),
            ("BITFIELD_RO key GET u8 8", "*1|:255|"),
            ("BITFIELD_RO key SET u8 8 1", "-ERR BITFIELD_RO only supports the GET subcommand|"),
            ("BITFIELD key OVERFLOW NO", "-ERR Invalid OVERFLOW type specified|"),
            (
                "BITFIELD key GET u64 0",
                "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.|",
            ),
            ("BITFIELD key GET u8", "-ERR syntax error|"),
            ("BITFIELD key", "*0|"),
            ("BITFIELD none GET i5 3", "*1|:0|"),
        ],
    );
}
