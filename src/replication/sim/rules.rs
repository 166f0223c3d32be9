//! What keeps promises. A test switches off one rule at a time and wants to see a promise broken; where a failing seed taught a rule, it says so.

/// Rules of nodes and of whoever promotes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// A semi-sync primary that lost power takes no writes before it was promoted again: the end of its log, which it promised, may be on
    /// its replicas only, and its next writes would make that divergent. It remembers that it waits: killed meanwhile, it starts again as one that
    /// was only killed (seed 127 of the first form of this harness).
    pub primary_waits_after_power_loss: bool,
    /// Nothing is committed before an entry of the own epoch is. A promoted node's log may hold an end of an earlier epoch that was never
    /// committed; once enough replicas have it, it may look so, and a third log with a later epoch and without that end still wins a promotion.
    pub commits_own_epoch_first: bool,
    /// Promotions have numbers of their own, above those of restarts (number + 1) of a primary that does not know that it is none any more.
    /// Otherwise two epochs may have one number, and the log that nobody promised anything of may win by its length.
    pub promotions_are_numbered_apart: bool,
    /// What a log holds beyond another is saved before it is given up.
    pub divergence_is_saved: bool,
    /// Of what it has of the common prefix a replica that is given a difference keeps only what lives at the primary: of what was deleted
    /// there, no tombstone may be left.
    pub what_does_not_live_goes: bool,
    /// What lives at the primary, and was dropped here on account of entries that are given up, is asked for.
    pub what_lives_is_asked_for: bool,
    /// Semi-sync: a promotion hears n - k + 1 replicas.
    pub promotion_hears_enough: bool,
    /// A promotion takes the highest (epoch, last LSN) of those it hears.
    pub promotion_takes_the_highest: bool,
    /// Who is heard by a promotion acknowledges nothing to the old primary any more.
    pub promotion_fences: bool,
    /// A replica that lost power is not heard by a promotion before it has an entry of a later epoch.
    pub who_lost_power_is_not_heard: bool,
    /// A replica that feeds others makes none of them give up entries before it has an entry of a later epoch than theirs: it may just be
    /// behind. A replica with a promised entry, started again with an old configuration, followed a node that had lost it with its power (seed
    /// 2971), and was the one that the next promotion heard.
    pub who_is_behind_takes_nothing: bool,
    /// Who reads a key is told of its record when that is promised.
    pub records_wait_for_the_promise: bool,
    /// Who reads a key that is not there is told so when the last deletion in its stripe is promised.
    pub absence_waits_for_the_promise: bool,
    /// A primary that has told a replica to take over takes no writes until it knows that the replica has not.
    pub handover_fences: bool,
    /// It takes writes again when the replica says that it will not take over, or follows again: not because it does not answer.
    pub handover_waits_for_word: bool,
    /// Nor does it when it was started again meanwhile.
    pub handover_survives_restarts: bool,
    /// Sync: a restarted primary waits for the members that it had.
    pub members_are_remembered: bool,
    /// Sync: only members of the in-sync set are promoted.
    pub only_members_are_promoted: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            primary_waits_after_power_loss: true,
            commits_own_epoch_first: true,
            promotions_are_numbered_apart: true,
            divergence_is_saved: true,
            what_does_not_live_goes: true,
            what_lives_is_asked_for: true,
            promotion_hears_enough: true,
            promotion_takes_the_highest: true,
            promotion_fences: true,
            who_lost_power_is_not_heard: true,
            who_is_behind_takes_nothing: true,
            records_wait_for_the_promise: true,
            absence_waits_for_the_promise: true,
            handover_fences: true,
            handover_waits_for_word: true,
            handover_survives_restarts: true,
            members_are_remembered: true,
            only_members_are_promoted: true,
        }
    }
}
