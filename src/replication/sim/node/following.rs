//! The link of a model node that follows another.

use std::collections::VecDeque;

use esker_storage::types::Lsn;

use super::{CUT, DIAL, INSTALL, ModelNode, Output, Part, Replica, SAVED, now, send};
use crate::replication::follow;
use crate::replication::sim::disk::{Divergent, ModelDisk};
use crate::replication::sim::entry::Entry;
use crate::replication::time::Now;
use crate::sim::{Env, MILLI};

impl ModelNode {
    pub(super) fn with_follow<'m>(&mut self, env: &mut Env<'_, Self>, call: impl FnOnce(&mut Replica, Now, &mut Vec<follow::Action<'m>>)) {
        let Part::Replica(replica) = &mut self.part else { return };
        let mut out = Vec::new();
        call(replica, now(env), &mut out);
        let mut actions: VecDeque<follow::Action<'m>> = out.into();
        while let Some(action) = actions.pop_front() {
            let mut more = Vec::new();
            self.follow_action(&action, &mut more, env);
            actions.extend(more);
        }
    }

    pub(super) fn follow_action(&mut self, action: &follow::Action<'_>, more: &mut Vec<follow::Action<'static>>, env: &mut Env<'_, Self>) {
        let time = now(env);
        let Part::Replica(replica) = &mut self.part else { return };
        match action {
            follow::Action::Send(message) => {
                if let Some(conn) = replica.conn {
                    send(conn, message, env);
                }
            }
            follow::Action::TellStanding => {
                let disk = env.disk();
                let (lineage, flushed, keys) = (disk.lineage(), Lsn(disk.flushed), disk.map().len() as u64);
                replica.follow.standing(follow::Standing { lineage, flushed, keys, whole: false, damaged: false }, time.at, more);
            }
            follow::Action::SaveDivergent { above } => {
                if self.setup.rules.divergence_is_saved {
                    save_divergent(env.disk(), above.0);
                }
                let token = SAVED << 32 | self.dialled;
                env.sync(token);
            }
            follow::Action::Cut { to } => {
                self.cut_to = to.0;
                let token = CUT << 32 | self.dialled;
                env.sync(token);
            }
            follow::Action::BeginStaging(listing) => {
                if env.disk().stage_records(listing) {
                    return replica.follow.staged(&[0], time.at, more);
                }
                let source = replica.follow.primary().map_or(0, |node| node.0);
                let there = env.disk().stage(source, listing);
                env.note(format_args!("stages {} files of {source}, has {there:?}", listing.files.len()));
                env.output(Output::Snapshot { resumed: there.iter().any(|bytes| *bytes > 0), above: listing.above.0 });
                replica.follow.staged(&there, time.at, more);
            }
            follow::Action::WritePiece(piece) => env.disk().write_piece(piece.file, piece.offset, piece.raw),
            follow::Action::Install(_) => {
                let token = INSTALL << 32 | self.dialled;
                env.sync(token);
            }
            follow::Action::Apply(run) => {
                let entries = Entry::decode_all(run.raw);
                assert_eq!(entries.first().map(|entry| entry.lsn), Some(run.first.0), "a run is what its head says");
                assert_eq!(entries.last().map(|entry| entry.lsn), Some(run.last.0), "a run is what its head says");
                entries.into_iter().for_each(|entry| env.disk().append(entry));
            }
            follow::Action::WriteValue { .. } => unreachable!("the model has no large values"),
            follow::Action::TakeOver => self.take_over(env),
            follow::Action::Close(bye) => {
                env.note(format_args!("follow ends: {bye:?}"));
                if let Some(conn) = replica.conn.take() {
                    env.close(conn);
                }
            }
            follow::Action::Reconnect { after } => {
                let token = DIAL << 32 | self.parts;
                env.timer(after.0 * MILLI, token);
            }
        }
    }
}

/// After a crash it is asked for again, and is there already.
fn save_divergent(disk: &mut ModelDisk, above: u64) {
    let entries: Vec<Entry> = disk.log.iter().filter(|entry| entry.lsn > above).copied().collect();
    if disk.divergent.iter().all(|known| known.above != above || known.entries != entries) {
        disk.divergent.push(Divergent { above, entries });
    }
}
