//! Tokens with which clients read their own writes: which entry of which log, and whether a log holds it.
//!
//! Invariants:
//! - A log that holds an entry's (epoch, writer, LSN) holds that entry. Without the writer, which clients may leave out, it may be another's:
//!   two standalone promotions apart are given the same number.
//! - What is said never to come never comes, as epochs of a log only rise. What may come by another log's taking the place of this one is
//!   waited for only if its epoch is a newer one.

use std::fmt;

use esker_storage::manifest::Epoch;
use esker_storage::types::{EpochNumber, Lsn, ShardId, WriterId};

use super::lineage::Lineage;

/// An entry, as clients name it: `shard:epoch:lsn`, where the epoch is `number-writer`, the writer in 16 hexadecimal digits, or the number only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The shard.
    pub shard: ShardId,
    /// When it was written: in which epoch.
    pub epoch: EpochNumber,
    /// Who wrote it; none: whoever was given that epoch's number.
    pub writer: Option<WriterId>,
    /// Its LSN; 0 stands for no entry at all.
    pub lsn: Lsn,
}

/// Whether a log holds a token's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It does.
    Held,
    /// It may come.
    Ahead,
    /// It will not come, and why.
    Never(String),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.shard.0, self.epoch.0)?;
        if let Some(writer) = self.writer {
            write!(f, "-{:016x}", writer.0)?;
        }
        write!(f, ":{}", self.lsn.0)
    }
}

impl Token {
    /// The token in a client's bytes.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|byte| *byte == b':');
        let (shard, epoch, lsn) = (number(parts.next()?)?, parts.next()?, number(parts.next()?)?);
        let (epoch, writer) = match epoch.iter().position(|byte| *byte == b'-') {
            Some(at) => (&epoch[..at], Some(writer(&epoch[at + 1..])?)),
            None => (epoch, None),
        };
        let (shard, epoch) = (u32::try_from(shard).ok()?, u32::try_from(number(epoch)?).ok()?);
        parts.next().is_none().then_some(Self { shard: ShardId(shard), epoch: EpochNumber(epoch), writer, lsn: Lsn(lsn) })
    }

    /// The token of an entry of this log.
    #[must_use]
    pub fn of(log: &Lineage, lsn: Lsn) -> Self {
        let epoch = log.epochs.iter().rev().find(|epoch| epoch.first <= lsn);
        Self { shard: log.shard, epoch: epoch.map_or(EpochNumber(0), |epoch| epoch.number), writer: epoch.map(|epoch| epoch.writer), lsn }
    }

    /// Whether the entry is of this epoch.
    fn is_of(&self, epoch: &Epoch) -> bool {
        epoch.number == self.epoch && self.writer.is_none_or(|writer| writer == epoch.writer)
    }

    /// Whether `log` holds the entry.
    #[must_use]
    pub fn place(&self, log: &Lineage) -> Place {
        if self.shard != log.shard {
            return Place::Never(format!("shard {} is not here", self.shard.0));
        }
        if self.lsn == Lsn(0) {
            return Place::Held;
        }
        let Some(newest) = log.epochs.last().filter(|newest| newest.number >= self.epoch) else {
            // Of an epoch that this log has not heard of.
            return Place::Ahead;
        };
        let ours = log.epochs.iter().rev().find(|epoch| epoch.first <= self.lsn);
        match ours {
            Some(ours) if self.lsn <= log.last && self.is_of(ours) => Place::Held,
            Some(ours) if self.lsn <= log.last && ours.number == self.epoch => Place::Never(self.written_apart()),
            Some(ours) if self.lsn <= log.last => {
                Place::Never(format!("the entry with LSN {} here is of epoch {}", self.lsn, ours.number.0))
            }
            _ if self.lsn > log.last && self.is_of(newest) => Place::Ahead,
            None if self.lsn <= log.last => Place::Never(format!("the log here begins behind LSN {}", self.lsn)),
            _ => Place::Never(self.ended(&log.epochs)),
        }
    }

    fn written_apart(&self) -> String {
        format!("another node began epoch {} here, the two were promoted apart", self.epoch.0)
    }

    /// Why an epoch that is over will not come so far.
    fn ended(&self, epochs: &[Epoch]) -> String {
        let mut same = epochs.iter().filter(|epoch| epoch.number == self.epoch).peekable();
        if same.peek().is_some() && !same.any(|epoch| self.is_of(epoch)) {
            return self.written_apart();
        }
        let known = epochs.iter().any(|epoch| self.is_of(epoch));
        let next = epochs.iter().find(|epoch| epoch.number > self.epoch);
        match next.filter(|_| known) {
            Some(next) => format!("epoch {} ends here at LSN {}", self.epoch.0, next.first.0.saturating_sub(1)),
            None => format!("there is no epoch {} here, and newer ones", self.epoch.0),
        }
    }
}

/// A writer as it is shown.
fn writer(digits: &[u8]) -> Option<WriterId> {
    let canonical = digits.len() == 16 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let digits = std::str::from_utf8(digits).ok().filter(|_| canonical)?;
    u64::from_str_radix(digits, 16).ok().map(WriterId)
}

/// A number without sign or leading zeros.
fn number(digits: &[u8]) -> Option<u64> {
    let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| canonical)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A log of the epochs (number, first LSN) that goes up to `last`.
    fn log(runs: &[(u32, u64)], last: u64) -> Lineage {
        let epoch = |&(number, first): &(u32, u64)| Epoch { number: EpochNumber(number), writer: WriterId(1), first: Lsn(first) };
        Lineage { epochs: runs.iter().map(epoch).collect(), last: Lsn(last), ..Lineage::default() }
    }

    fn token(epoch: u32, lsn: u64) -> Token {
        Token { shard: ShardId(0), epoch: EpochNumber(epoch), writer: None, lsn: Lsn(lsn) }
    }

    #[test]
    fn tokens_are_read_as_they_are_shown_and_nothing_else_is() {
        let shown = token(3, u64::MAX);
        assert_eq!(shown.to_string(), "0:3:18446744073709551615");
        assert_eq!(Token::parse(shown.to_string().as_bytes()), Some(shown));
        assert_eq!(Token::parse(b"7:0:0"), Some(Token { shard: ShardId(7), ..token(0, 0) }));
        let full = Token { writer: Some(WriterId(0xab)), ..token(65536, 9) };
        assert_eq!(full.to_string(), "0:65536-00000000000000ab:9");
        assert_eq!(Token::parse(full.to_string().as_bytes()), Some(full));
        let bad = [
            "0:1-ab:2",
            "0:1-00000000000000AB:2",
            "0:1-0000000000000000ab:2",
            "0:1-:2",
            "0:-00000000000000ab:2",
            "0:1-00000000000000ab-00000000000000ab:2",
            "0-00000000000000ab:1:2",
            "",
            "1",
            "0:1",
            "0:1:2:3",
            "0:1:",
            ":1:2",
            "0:1:-2",
            "0:+1:2",
            "0:1:02",
            "0: 1:2",
            "0:4294967296:1",
            "0:1:18446744073709551616",
        ];
        assert!(bad.iter().all(|text| Token::parse(text.as_bytes()).is_none()));
    }

    #[test]
    fn an_entry_is_named_by_the_epoch_that_wrote_it() {
        let log = log(&[(1, 1), (3, 11), (4, 21)], 30);
        let epochs: Vec<u32> = [1, 10, 11, 20, 21, 30].map(|lsn| Token::of(&log, Lsn(lsn)).epoch.0).into();
        assert_eq!(epochs, [1, 1, 3, 3, 4, 4]);
        assert_eq!(Token::of(&log, Lsn(11)).writer, Some(WriterId(1)));
        assert_eq!(Token::of(&Lineage::default(), Lsn(0)), token(0, 0));
    }

    #[test]
    fn an_entry_of_another_promotion_with_the_same_number_is_not_here_and_never_comes() {
        let log = log(&[(1, 1), (65536, 11)], 30);
        let of = |writer, lsn| Token { writer: Some(WriterId(writer)), ..token(65536, lsn) };
        for lsn in [11, 30, 31] {
            assert_eq!(of(2, lsn).place(&log), Place::Never("another node began epoch 65536 here, the two were promoted apart".to_owned()));
            assert_eq!(of(1, lsn).place(&log), token(65536, lsn).place(&log), "{lsn}");
        }
        assert_eq!(of(1, 31).place(&log), Place::Ahead);
        let earlier = Token { writer: Some(WriterId(2)), ..token(1, 40) };
        assert!(matches!(earlier.place(&log), Place::Never(reason) if reason.contains("promoted apart")));
        assert!(matches!(Token { writer: Some(WriterId(2)), ..token(65537, 40) }.place(&log), Place::Ahead));
    }

    #[test]
    fn every_place_relative_to_every_epoch() {
        use Place::{Ahead, Held};
        // Epochs 1: 1 to 10, 3: 11 to 20, 5: from 21, and the log goes up to 30.
        let log = log(&[(1, 1), (3, 11), (5, 21)], 30);
        for epoch in 0..=7 {
            for lsn in 0..=35 {
                let written_by = [(1, 1..=10), (3, 11..=20), (5, 21..=30)];
                let expected = match (epoch, lsn) {
                    (_, 0) => Some(Held),
                    (epoch, lsn) if written_by.iter().any(|(number, lsns)| (*number, true) == (epoch, lsns.contains(&lsn))) => Some(Held),
                    (5, 31..) | (6.., _) => Some(Ahead),
                    _ => None,
                };
                let place = token(epoch, lsn).place(&log);
                assert!(
                    expected.as_ref().map_or(matches!(place, Place::Never(_)), |expected| *expected == place),
                    "{epoch}:{lsn} {place:?}"
                );
            }
        }
    }

    #[test]
    fn why_it_never_comes_is_told() {
        let log = log(&[(1, 1), (3, 11), (5, 21)], 30);
        let never = |token: Token| if let Place::Never(reason) = token.place(&log) { reason } else { panic!("{token}") };
        assert_eq!(never(token(3, 25)), "the entry with LSN 25 here is of epoch 5");
        assert_eq!(never(token(3, 31)), "epoch 3 ends here at LSN 20");
        assert_eq!(never(token(4, 31)), "there is no epoch 4 here, and newer ones");
        assert_eq!(never(Token { shard: ShardId(1), ..token(5, 25) }), "shard 1 is not here");
    }

    #[test]
    fn a_log_that_has_nothing_yet_waits_for_everything() {
        assert_eq!(token(1, 1).place(&Lineage::default()), Place::Ahead);
    }

    #[test]
    fn what_is_written_later_in_the_same_epoch_was_ahead_before_and_is_held_then() {
        for last in 21..40 {
            let place = token(5, 30).place(&log(&[(1, 1), (5, 21)], last));
            assert_eq!(place, if last < 30 { Place::Ahead } else { Place::Held });
        }
        // A failover before it came: now it never does.
        assert!(matches!(token(5, 30).place(&log(&[(1, 1), (5, 21), (6, 26)], 27)), Place::Never(_)));
    }
}
