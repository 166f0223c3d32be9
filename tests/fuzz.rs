//! The parser of requests, fed with what no client would send: for a bounded time, from a corpus that knows the structure, and however the
//! input is cut into reads. No panic, no memory taken on a claim, the same outcome for every cut.
//!
//! ESKER_FUZZ_SECONDS says how long each target runs (2 by default), ESKER_SEED with which seed; a failure prints its own. The targets of the
//! storage's decoders are in `storage/tests/fuzz`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../storage/tests/fuzz/driver.rs"]
mod driver;
#[path = "../storage/tests/fuzz/mutate.rs"]
mod mutate;

use esker::protocol::{Limits, Parsed, ProtocolError, RequestParser};
use rand::Rng;
use rand::rngs::StdRng;

use driver::fuzz;
use mutate::{mutate, noise};

const LIMITS: Limits = Limits { max_bulk: 512 << 20, authenticated: true };

type Request = Vec<Vec<u8>>;

/// Some requests, with their bytes.
fn pipeline(rng: &mut StdRng) -> (Vec<u8>, Vec<Request>) {
    let mut bytes = Vec::new();
    let mut requests = Vec::new();
    for _ in 0..rng.random_range(1..5) {
        if rng.random_bool(0.2) {
            let line: &[u8] =
                [&b"PING"[..], b"SET key value", b"GET \"a b\\x41\\n\"", b"SET 'it\\'s' x", b"", b"  ECHO   hi  "][rng.random_range(0..6)];
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(if rng.random_bool(0.5) { b"\r\n" } else { b"\n" });
            continue;
        }
        let mut request: Request = vec![[&b"GET"[..], b"SET", b"MSET", b"\xff\0", b"x"][rng.random_range(0..5)].to_vec()];
        for _ in 0..rng.random_range(0..5) {
            let len = [0, 1, 5, 40, 300][rng.random_range(0..5)];
            request.push(noise(rng, len));
        }
        bytes.extend(format!("*{}\r\n", request.len()).bytes());
        for argument in &request {
            bytes.extend(format!("${}\r\n", argument.len()).bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        requests.push(request);
    }
    (bytes, requests)
}

/// What a connection would make of `input` when it arrives in pieces that end at `cuts`.
fn parse_all(input: &[u8], cuts: &[usize]) -> (Vec<Request>, Option<ProtocolError>) {
    let mut parser = RequestParser::default();
    let mut requests = Vec::new();
    let (mut start, mut needed) = (0, 0);
    for &cut in cuts.iter().chain([&input.len()]) {
        // A connection reads on until as much is there as the parser asked for; asking again early must do no harm either.
        let _ = needed;
        loop {
            let arrived = &input[start..cut.max(start)];
            match parser.parse(arrived, &LIMITS) {
                Err(error) => return (requests, Some(error)),
                Ok(Parsed::Incomplete(more)) => {
                    assert!(more > arrived.len(), "asks for {more} bytes and has {}", arrived.len());
                    needed = more;
                    break;
                }
                Ok(Parsed::Request(len)) => {
                    assert!(len > 0 && len <= arrived.len(), "a request of {len} bytes in {}", arrived.len());
                    let mut arguments = Vec::new();
                    parser.arguments_of(arrived, &mut arguments);
                    requests.push(arguments.into_iter().map(<[u8]>::to_vec).collect());
                    start += len;
                }
            }
            assert!(parser.memory() <= 64 * input.len() + (64 << 10), "{} bytes for an input of {}", parser.memory(), input.len());
        }
    }
    (requests, None)
}

fn cuts(rng: &mut StdRng, len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..rng.random_range(0..8)).map(|_| rng.random_range(0..=len)).collect();
    cuts.sort_unstable();
    cuts
}

#[test]
fn requests_are_parsed_as_written_or_refused_however_they_are_cut() {
    fuzz("requests", |rng| {
        let (mut bytes, requests) = pipeline(rng);
        let (parsed, error) = parse_all(&bytes, &cuts(rng, bytes.len()));
        assert_eq!(error, None);
        let mut parsed = parsed.into_iter();
        assert!(requests.iter().all(|request| parsed.any(|found| found == *request)), "what was written is not what is parsed");
        for _ in 0..20 {
            mutate(rng, &mut bytes);
            let whole = parse_all(&bytes, &[]);
            let in_pieces = parse_all(&bytes, &cuts(rng, bytes.len()));
            assert_eq!(whole, in_pieces, "{:?}", String::from_utf8_lossy(&bytes));
        }
    });
}

#[test]
fn random_bytes_are_no_danger() {
    fuzz("random requests", |rng| {
        let len = rng.random_range(0..200);
        let alphabet: &[u8] = b"*$0123456789-\r\n\r\n\r\nabc \"'\\x\0\xff";
        let bytes: Vec<u8> = (0..len).map(|_| alphabet[rng.random_range(0..alphabet.len())]).collect();
        assert_eq!(parse_all(&bytes, &[]), parse_all(&bytes, &cuts(rng, len)));
    });
}

/// The same, with arguments of at least `large` bytes taken out of the input as they arrive, as uploads do; they count as empty.
fn parse_with_uploads(input: &[u8], step: usize, large: usize) -> Vec<Request> {
    let mut parser = RequestParser::default();
    let mut requests = Vec::new();
    let (mut rest, mut arrived) = (input.to_vec(), 0);
    loop {
        match parser.parse(&rest[..arrived], &LIMITS).unwrap() {
            Parsed::Request(len) => {
                let mut arguments = Vec::new();
                parser.arguments_of(&rest[..arrived], &mut arguments);
                requests.push(arguments.into_iter().map(<[u8]>::to_vec).collect());
                rest.drain(..len);
                arrived -= len;
            }
            Parsed::Incomplete(_) if arrived == rest.len() => return requests,
            Parsed::Incomplete(_) => match parser.pending_argument().filter(|pending| pending.len >= large) {
                Some(pending) => {
                    rest.drain(pending.start..pending.start + pending.len + 2);
                    parser.skip_pending();
                    arrived = pending.start;
                }
                None => arrived = rest.len().min(arrived + step),
            },
        }
    }
}

#[test]
fn arguments_taken_out_of_the_input_leave_the_others_as_they_are() {
    fuzz("uploads", |rng| {
        let (bytes, _) = pipeline(rng);
        let (large, step) = (rng.random_range(1..60), rng.random_range(1..80));
        let (whole, _) = parse_all(&bytes, &[]);
        let found = parse_with_uploads(&bytes, step, large);
        assert_eq!(found.len(), whole.len());
        for (found, whole) in found.iter().zip(&whole) {
            assert_eq!(found.len(), whole.len());
            let same = |(found, whole): (&Vec<u8>, &Vec<u8>)| found == whole || found.is_empty() && whole.len() >= large;
            assert!(found.iter().zip(whole).all(same), "{found:?} for {whole:?}");
        }
    });
}
