#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use super::*;

const OPEN: Limits = Limits { max_bulk: 512 * 1024 * 1024, authenticated: true };
const CLOSED: Limits = Limits { max_bulk: 512 * 1024 * 1024, authenticated: false };

type Requests = Vec<Vec<Vec<u8>>>;

/// Feeds `input` in reads that end at `cuts`, as a connection does, and returns the requests.
fn feed(input: &[u8], cuts: &[usize], limits: &Limits) -> (Requests, Option<ProtocolError>) {
    let (mut parser, mut requests, mut start) = (RequestParser::default(), Vec::new(), 0);
    for end in cuts.iter().copied().chain([input.len()]) {
        loop {
            let pending = &input[start..end];
            match parser.parse(pending, limits) {
                Ok(Parsed::Request(len)) => {
                    let mut list = Vec::new();
                    parser.arguments_of(pending, &mut list);
                    if !list.is_empty() {
                        requests.push(list.iter().map(|a| a.to_vec()).collect());
                    }
                    start += len;
                }
                Ok(Parsed::Incomplete(needed)) => {
                    assert!(needed > pending.len());
                    break;
                }
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fn all(input: &[u8]) -> Requests {
    let (requests, error) = feed(input, &[], &OPEN);
    assert_eq!(error, None);
    requests
}

fn error(input: &[u8], limits: &Limits) -> Option<ProtocolError> {
    feed(input, &[], limits).1
}

fn words(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|w| w.as_bytes().to_vec()).collect()
}

#[test]
fn a_pipeline_reads_the_same_however_it_is_cut() {
    let mut input =
        b"*3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$3\r\na\r\n\r\n*0\r\n*-1\r\nPING\r\n\r\nget \"a \\x41\" 'b'\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n"
            .to_vec();
    input.extend_from_slice(b"*12\r\n");
    for i in 0..12 {
        input.extend_from_slice(format!("$2\r\n{i:02}\r\n").as_bytes());
    }
    input.extend_from_slice(format!("*2\r\n$4\r\nECHO\r\n$1234\r\n{}\r\n", "x".repeat(1234)).as_bytes());
    let whole = all(&input);
    assert_eq!(whole.len(), 6);
    assert_eq!(whole[0], words(&["SET", "key:1", "a\r\n"]));
    assert_eq!(whole[2], words(&["get", "a A", "b"]));
    for first in 0..input.len() {
        assert_eq!(feed(&input, &[first], &OPEN), (whole.clone(), None), "cut at {first}");
    }
    let every: Vec<usize> = (1..input.len()).collect();
    assert_eq!(feed(&input, &every, &OPEN).0, whole);
}

#[test]
fn a_cut_argument_tells_how_much_is_missing() {
    let mut parser = RequestParser::default();
    let mut input = b"*2\r\n$4\r\nECHO\r\n$100000\r\n".to_vec();
    let head = input.len();
    assert_eq!(parser.parse(&input, &OPEN), Ok(Parsed::Incomplete(head + 100_002)));
    input.resize(head + 50_000, b'x');
    assert_eq!(parser.parse(&input, &OPEN), Ok(Parsed::Incomplete(head + 100_002)));
    input.resize(head + 100_002, b'x');
    assert_eq!(parser.parse(&input, &OPEN), Ok(Parsed::Request(head + 100_002)));
}

#[test]
fn headers_are_checked_as_redis_checks_them() {
    for (input, expected) in [
        (&b"*x\r\n"[..], ProtocolError::MultibulkLength),
        (b"*3000000000\r\n", ProtocolError::MultibulkLength),
        (b"*01\r\n", ProtocolError::MultibulkLength),
        (b"*+1\r\n", ProtocolError::MultibulkLength),
        (b"*1\r\n:3\r\n", ProtocolError::Expected(b':')),
        (b"*1\r\n$-1\r\n", ProtocolError::BulkLength),
        (b"*1\r\n$x\r\n", ProtocolError::BulkLength),
        (b"*1\r\n$536870913\r\n", ProtocolError::BulkLength),
        (b"*1\r\n$99999999999999999999\r\n", ProtocolError::BulkLength),
        (b"set \"a\r\n", ProtocolError::Quotes),
        (b"set \"a\"b\r\n", ProtocolError::Quotes),
        (b"set 'a\r\n", ProtocolError::Quotes),
    ] {
        assert_eq!(error(input, &OPEN), Some(expected), "{}", String::from_utf8_lossy(input));
    }
    assert_eq!(ProtocolError::Expected(b'*').to_string(), "ERR Protocol error: expected '$', got '*'");
}

#[test]
fn lines_without_an_end_are_refused_past_64_kib() {
    for (head, expected) in [("*", ProtocolError::MultibulkLine), ("*1\r\n$", ProtocolError::BulkLine), ("x", ProtocolError::InlineLine)] {
        let mut input = head.as_bytes().to_vec();
        input.resize(60_000, b'1');
        assert_eq!(error(&input, &OPEN), None, "{head}");
        input.resize(70_000, b'1');
        assert_eq!(error(&input, &OPEN), Some(expected), "{head}");
    }
}

#[test]
fn before_auth_requests_are_small() {
    assert_eq!(error(b"*11\r\n", &CLOSED), Some(ProtocolError::UnauthenticatedMultibulk));
    assert_eq!(error(b"*10\r\n", &CLOSED), None);
    assert_eq!(error(b"*1\r\n$16385\r\n", &CLOSED), Some(ProtocolError::UnauthenticatedBulk));
    assert_eq!(error(b"*1\r\n$16384\r\n", &CLOSED), None);
}

#[test]
fn the_bulk_limit_holds_for_short_headers_too() {
    let small = Limits { max_bulk: 10, authenticated: true };
    assert_eq!(error(b"*1\r\n$11\r\n", &small), Some(ProtocolError::BulkLength));
    assert_eq!(error(b"*1\r\n$10\r\n", &small), None);
}

#[test]
fn inline_words_are_unquoted_as_in_redis_cli() {
    for (line, expected) in [
        ("set a b", vec!["set", "a", "b"]),
        ("  set\t a  ", vec!["set", "a"]),
        (r#"set "a\n\r\t\b\a\"\\" x"#, vec!["set", "a\n\r\t\u{8}\u{7}\"\\", "x"]),
        (r#"set "\x41\xzz""#, vec!["set", "Axzz"]),
        (r"set 'a\'b\n'", vec!["set", "a'b\\n"]),
        (r#"set a"b""#, vec!["set", "ab"]),
        (r#"set """#, vec!["set", ""]),
    ] {
        assert_eq!(all(format!("{line}\r\n").as_bytes()), vec![words(&expected)], "{line}");
        assert_eq!(all(format!("{line}\n").as_bytes()), vec![words(&expected)], "{line}");
    }
    assert_eq!(all(b"ping a\0b\r\n"), vec![words(&["ping", "a"])]);
}
