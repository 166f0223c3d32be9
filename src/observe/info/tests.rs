#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use esker_storage::shard::Shard;

use super::*;

fn info(words: &[&str]) -> String {
    let words: Vec<&[u8]> = words.iter().map(|w| w.as_bytes()).collect();
    let databases = [DatabaseKeys { keys: 3, expires: 1 }, DatabaseKeys::default()];
    text(&Server::new(Shard::temporary(), 1), &databases, &words)
}

fn titles(words: &[&str]) -> Vec<String> {
    info(words).lines().filter_map(|l| l.strip_prefix("# ").map(str::to_owned)).collect()
}

#[test]
fn sections_come_as_redis_orders_them() {
    let default =
        ["Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules", "Errorstats", "Cluster", "Keyspace"];
    assert_eq!(titles(&[]), default);
    assert_eq!(titles(&["default"]), default);
    assert_eq!(titles(&["everything"]).len(), SECTIONS.len());
    assert_eq!(titles(&["all"]).len(), SECTIONS.len() - 1);
    assert_eq!(titles(&["cpu", "SERVER"]), ["Server", "CPU"]);
    assert!(info(&["nope"]).is_empty());
}

#[test]
fn every_line_is_a_title_a_field_or_empty() {
    for line in info(&["everything"]).split("\r\n") {
        assert!(line.is_empty() || line.starts_with("# ") || line.split_once(':').is_some_and(|(name, _)| !name.contains(' ')), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn the_keyspace_lists_databases_that_have_keys() {
    assert_eq!(info(&["keyspace"]), "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\n");
}

#[test]
fn bytes_are_shown_to_people_as_in_redis() {
    for (bytes, shown) in
        [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (940_928, "918.88K"), (25_276_502_016, "23.54G"), (1 << 41, "2.00T")]
    {
        assert_eq!(human(bytes), shown);
    }
}
