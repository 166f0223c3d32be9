//! What a log that was cleaned still tells.

use esker_storage::history::HistoryError;

use super::*;

fn keys(w: &Writer, words: &[&str]) -> Result<Vec<String>, LogError> {
    let (_, text) = w.try_run(&[&["export", "--format", "json"], words].concat())?;
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    Ok(lines.map(|line| format!("{}={}", line["key"].as_str().unwrap(), line["value"].as_str().unwrap())).collect())
}

/// LSNs 1 to 3 cleaned when 5 was known, 4 and 5 as they were written.
fn cleaned() -> Writer {
    let mut w = Writer::new();
    w.put("a", "one");
    w.put("b", "two");
    w.put("c", "three");
    w.seal_cleaned(Lsn(5));
    w.put("a", "four");
    w.put("d", "five");
    w.seal();
    w.put("a", "six");
    w.store();
    w
}

#[test]
fn states_below_the_clean_horizon_are_refused_by_its_name() {
    let w = cleaned();
    for words in [["--lsn", "4"], ["--lsn", "1"], ["--time", &(TIME + 4000).to_string()]] {
        let error = keys(&w, &words).unwrap_err();
        assert!(matches!(error, LogError::History(HistoryError::BelowHorizon { horizon: Lsn(5), .. })), "{words:?}: {error}");
        assert!(error.to_string().contains("LSNs up to 5"), "{error}");
    }
    assert_eq!(keys(&w, &["--lsn", "5"]).unwrap(), ["b=two", "c=three", "a=four", "d=five"]);
    assert_eq!(keys(&w, &["--time", &(TIME + 5999).to_string()]).unwrap(), ["b=two", "c=three", "a=four", "d=five"]);
    assert_eq!(keys(&w, &[]).unwrap(), ["b=two", "c=three", "d=five", "a=six"]);
}

#[test]
fn what_lies_behind_the_state_asked_for_does_not_matter_to_it() {
    let mut w = Writer::new();
    w.put("a", "one");
    w.seal();
    w.put("a", "two");
    w.seal_cleaned(Lsn(2));
    w.store();
    assert_eq!(keys(&w, &["--lsn", "1"]).unwrap(), ["a=one"], "the segment of LSN 1 is as it was written");
}

#[test]
fn a_flush_after_the_state_asked_for_does_not_empty_it() {
    let w = sample();
    assert_eq!(keys(&w, &["--lsn", "5", "--no-expiry"]).unwrap().len(), 2, "of database 1 only what had not expired");
    assert_eq!(keys(&w, &["--db", "1"]).unwrap(), ["a=again in db 1"]);
}

#[test]
fn broken_chains_are_damage() {
    let mut w = Writer::new();
    w.put("a", "one");
    let delta = Delta { base_lsn: Lsn(7), base_op: 0, depth: 1, total_len: 3, chain_bytes: 0, change: DeltaChange::Expiry };
    let body = delta.encode_head();
    w.op(&Op { code: OpCode::Delta, ..put(0, "a", std::str::from_utf8(&body).unwrap()) });
    w.store();
    let error = keys(&w, &[]).unwrap_err().to_string();
    assert!(error.contains("LSN 2") && error.contains("a delta on LSN 7"), "{error}");
}

#[test]
fn a_dead_delta_whose_base_was_cleaned_away_is_no_damage() {
    let mut w = Writer::new();
    w.put("b", "two");
    let delta = Delta { base_lsn: Lsn(7), base_op: 0, depth: 1, total_len: 3, chain_bytes: 0, change: DeltaChange::Expiry };
    let body = delta.encode_head();
    w.op(&Op { code: OpCode::Delta, ..put(0, "a", std::str::from_utf8(&body).unwrap()) });
    w.put("a", "three");
    w.store();
    assert_eq!(w.try_run(&["verify"]).unwrap().0, Outcome::Sound);
    assert_eq!(keys(&w, &[]).unwrap(), ["b=two", "a=three"]);
}
