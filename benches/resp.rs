//! Parsing pipelines of requests in place.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking, and has no readers of rustdoc")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use esker::protocol::{Limits, Parsed, Reply, RequestParser, Version};

const PIPELINE: u64 = 32;
const VALUE: [u8; 100] = [b'v'; 100];
const LIMITS: Limits = Limits { max_bulk: 512 << 20, authenticated: true };

fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend(b"\r\n");
    }
    bytes
}

fn pipeline(of: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    (0..PIPELINE).flat_map(|number| of(format!("key:{number:012}").as_bytes())).collect()
}

/// Parses all requests of `input`; returns how many arguments they have.
fn parse(parser: &mut RequestParser, list: &mut Vec<&'static [u8]>, input: &[u8]) -> usize {
    let (mut used, mut count) = (0, 0);
    while let Ok(Parsed::Request(len)) = parser.parse(&input[used..], &LIMITS) {
        let mut arguments = recycle(std::mem::take(list));
        parser.arguments_of(&input[used..], &mut arguments);
        count += black_box(&arguments).len();
        *list = recycle(arguments);
        used += len;
    }
    assert_eq!(used, input.len());
    count
}

/// An empty list for slices of another lifetime, in the memory of the old one.
fn recycle<'b>(mut list: Vec<&[u8]>) -> Vec<&'b [u8]> {
    list.clear();
    list.into_iter().map(|_| -> &'b [u8] { &[] }).collect()
}

fn resp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resp");
    group.throughput(Throughput::Elements(PIPELINE));
    let inputs = [
        ("GET", pipeline(|key| request(&[b"GET", key]))),
        ("SET", pipeline(|key| request(&[b"SET", key, &VALUE]))),
        ("inline GET", pipeline(|key| [b"GET ", key, b"\r\n"].concat())),
    ];
    for (name, input) in &inputs {
        let (mut parser, mut list) = (RequestParser::default(), Vec::new());
        group.bench_function(format!("parse 32 {name}"), |bencher| bencher.iter(|| parse(&mut parser, &mut list, black_box(input))));
    }
    group.bench_function("write 32 bulk replies", |bencher| {
        let mut reply = Reply::new(Version::Resp2);
        bencher.iter(|| {
            reply.truncate(0);
            (0..PIPELINE).for_each(|_| reply.bulk(black_box(&VALUE)));
            black_box(reply.bytes().len())
        });
    });
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = settings(); targets = resp }
criterion_main!(benches);
