//! Where a command differs from Redis 7: what `docs/commands.md` says of it.

/// Command (or container) and difference. Commands that are not named behave as in Redis.
pub(super) const DIFFERENCES: &[(&str, &str)] = &[
    (
        "bgrewriteaof",
        "Has every segment cleaned in which something is dead, in the background; the log is cleaned by itself, too, as dead space grows.",
    ),
    ("bgsave", "Takes a checkpoint: no RDB file is written, and nothing is forked."),
    (
        "client|lsn",
        "Esker's own, since this version of it: `shard:epoch-writer:lsn`, for WAITLSN, which takes it without the writer too. Not in a transaction, whose entry is not there yet.",
    ),
    ("command|docs", "Summaries are our own; since when an option exists is left out."),
    ("config|set", "`port`, `bind` and `dir` cannot be changed while running; directives without a meaning here are kept and do nothing."),
    ("debug", "Only subcommands that do no harm, so it is allowed by default; SLEEP holds back its own reply and nobody else's."),
    (
        "esker.digest",
        "Esker's own, since this version of it: `[SLOTS first last] [DB n]`. Replies the token of the LSN, up to when the log says that keys have expired (Unix ms), 1 if all of those are out of the digests, and slots with 128-bit digests in hexadecimal. Equal content has equal digests, whatever wrote it.",
    ),
    (
        "esker.getat",
        "Esker's own, since this version of it. Null: there was no such key. Below what the log still holds, an error names the oldest LSN that can be had.",
    ),
    (
        "esker.changed",
        "Esker's own, since this version of it. Written, deleted, its database emptied or swapped: all of that is a change, expiry and eviction are none. Null: the log holds no change, and cleaning may have dropped one.",
    ),
    ("esker.history", "Esker's own, since this version of it. Ten versions without COUNT; null stands for no value and no expiry."),
    (
        "exec",
        "All of it is one entry of the log: after a crash all of it is there, or none. What a failing command wrote before its error is taken back.",
    ),
    ("failover", "Once the replica was told to take over ABORT is refused: it may lead already."),
    ("info", "Fields of Esker's own stand beside those of Redis: docs/operations.md lists them."),
    ("lastsave", "The time of the newest checkpoint."),
    ("latency|doctor", "Our own words; `fsync` and `checkpoint` are events of Esker's own."),
    ("memory|malloc-stats", "The allocator tells nothing."),
    ("memory|stats", "Figures of the log and the index; those of Redis's allocator and dictionaries do not exist."),
    ("memory|usage", "Bytes of the record in the log and of its place in the index."),
    ("object|encoding", "The encoding that Redis would choose; Esker has one."),
    ("object|freq", "Access frequencies are not told."),
    ("object|idletime", "Always 0."),
    ("publish", "A connection that publishes to itself gets the message after the reply, as since Redis 7.2."),
    ("save", "Takes a checkpoint: no RDB file is written."),
    ("scan", "Cursors are places in hash order; they stay valid while the index grows, and across a restart."),
    ("shutdown", "Flushes the log and takes a checkpoint; with NOSAVE or NOW the checkpoint is left out."),
    ("spublish", "There is one shard: every client reaches every shard channel."),
    ("touch", "Counts the keys; there are no access times to renew."),
    ("unlink", "The same as DEL, which frees no memory in the foreground either."),
    (
        "waitlsn",
        "Esker's own, since this version of it. Seen is what the mode has promised. An error: a token that this server never will see, as its epoch ended before it, or another wrote what has its LSN. A newer epoch than any here is waited for.",
    ),
    ("watch", "A watched key that does not exist may count as changed when another key of its stripe is deleted."),
];

/// The difference of a command, if there is one.
#[must_use]
pub(super) fn difference(name: &str) -> Option<&'static str> {
    DIFFERENCES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_of_a_command_that_there_is() {
        for (name, _) in DIFFERENCES {
            assert!(crate::command::lookup(name).is_some(), "{name}");
        }
    }
}
