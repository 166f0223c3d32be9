//! The links of those that follow a model node.

use std::collections::VecDeque;

use esker_storage::difference::OpSet;
use esker_storage::types::Lsn;

use super::{ModelNode, Part, now, send};
use crate::replication::feed::{self, Feed, LogRead};
use crate::replication::lineage::{Refusal, RefusalCode};
use crate::replication::time::Now;
use crate::replication::wire::{ByeCode, Entries, Message, Piece, SnapshotId};
use crate::sim::{ConnId, Env};

impl ModelNode {
    pub(super) fn with_feed(&mut self, conn: ConnId, env: &mut Env<'_, Self>, call: impl FnOnce(&mut Feed, Now, &mut Vec<feed::Action>)) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let mut out = Vec::new();
        call(&mut link.feed, now(env), &mut out);
        let mut actions: VecDeque<feed::Action> = out.into();
        while let Some(action) = actions.pop_front() {
            let mut more = Vec::new();
            self.feed_action(conn, action, &mut more, env);
            actions.extend(more);
        }
    }

    pub(super) fn feed_action(&mut self, conn: ConnId, action: feed::Action, more: &mut Vec<feed::Action>, env: &mut Env<'_, Self>) {
        let time = now(env);
        match action {
            feed::Action::Joined { holds } => return self.joined(conn, holds, env),
            feed::Action::Progress(ack) => {
                let replica = self.links.get(&conn).and_then(|link| link.feed.replica());
                if let (Part::Primary(primary), Some(node)) = (&mut self.part, replica) {
                    primary.commit.acknowledged(node, ack.written, ack.flushed);
                    if primary.commit.is_admissible(node) {
                        env.disk().members.insert(node.0 as usize);
                        primary.commit.admit(node);
                    }
                    self.grew(env);
                }
                return;
            }
            feed::Action::TookOver(answer) => return self.answered(conn, &answer, env),
            feed::Action::Close(bye) => {
                env.note(format_args!("feed {} ends: {bye:?}", conn.0));
                return self.feed_ended(conn, env);
            }
            _ => {}
        }
        let standing = matches!(action, feed::Action::Compare).then(|| self.standing(env));
        let Some(link) = self.links.get_mut(&conn) else { return };
        match action {
            feed::Action::Send(message) => send(conn, &message, env),
            feed::Action::Pin(lsn) => link.pin = lsn,
            feed::Action::Compare => link.feed.compared(standing.expect("looked up above"), time, more),
            feed::Action::OpenSnapshot { above } => {
                self.snapshots += 1;
                link.above = above;
                let (listing, files) = env.disk().snapshot(SnapshotId(self.snapshots), above.0);
                link.snapshot = Some((listing.id, files));
                link.feed.snapshot_opened(listing, time, more);
            }
            feed::Action::CloseSnapshot(_) => link.snapshot = None,
            feed::Action::SendPiece { id, file, offset, len } => {
                let (_, files) = link.snapshot.as_ref().expect("an open snapshot");
                let raw = &files[file as usize][offset as usize..][..len as usize];
                send(conn, &Message::Piece(Piece { id, file, offset, raw }), env);
            }
            feed::Action::ReadLog { from, most, .. } => {
                let read = match env.disk().read(from.0, most as usize) {
                    None => LogRead::Gone,
                    Some(entries) => {
                        let mut raw = Vec::new();
                        entries.iter().for_each(|entry| entry.encode(&mut raw));
                        let last = Lsn(entries.last().expect("it was written").lsn);
                        let committed = link.feed.committed();
                        send(conn, &Message::Entries(Entries { first: from, last, committed, raw: &raw }), env);
                        LogRead::Entries { last, bytes: raw.len() as u64 }
                    }
                };
                link.feed.log_read(read, time, more);
            }
            feed::Action::GatherRecords(lacking) => {
                let (listing, files) = env.disk().records(lacking.id, link.above, &OpSet::decode(&lacking.ops).expect("a set of ops"));
                link.snapshot = Some((listing.id, files));
                link.feed.records_gathered(listing, time, more);
            }
            feed::Action::SendValue { .. } => unreachable!("the model has no large values"),
            feed::Action::Joined { .. } | feed::Action::Progress(_) | feed::Action::TookOver(_) | feed::Action::Close(_) => {
                unreachable!("handled above")
            }
        }
    }

    pub(super) fn standing(&self, env: &mut Env<'_, Self>) -> feed::Standing {
        let lineage = env.disk().lineage();
        let keys = env.disk().map().len() as u64;
        let waiting = || Refusal { code: RefusalCode::Waiting, reason: "it lost power".to_owned() };
        let refuse = self.is_waiting().then(waiting);
        let is_primary = self.is_primary() || !self.setup.rules.who_is_behind_takes_nothing;
        feed::Standing { committed: self.readable().min(lineage.last), lineage, is_primary, keys, refuse }
    }

    pub(super) fn joined(&mut self, conn: ConnId, holds: Lsn, env: &mut Env<'_, Self>) {
        let Some(node) = self.links.get(&conn).and_then(|link| link.feed.replica()) else { return };
        let others = self.links.iter().filter(|(other, link)| **other != conn && link.feed.replica() == Some(node));
        let others: Vec<ConnId> = others.map(|(conn, _)| *conn).collect();
        for other in others {
            self.with_feed(other, env, |feed, _, out| feed.leave(ByeCode::Superseded, "another link", out));
        }
        if let Part::Primary(primary) = &mut self.part {
            primary.commit.joined(node, holds);
            self.grew(env);
        }
    }

    pub(super) fn feed_ended(&mut self, conn: ConnId, env: &mut Env<'_, Self>) {
        env.close(conn);
        let Some(link) = self.links.remove(&conn) else { return };
        let other = self.links.values().any(|other| other.feed.replica() == link.feed.replica());
        if let (Part::Primary(primary), Some(node), false) = (&mut self.part, link.feed.replica(), other) {
            primary.commit.left(node);
        }
    }
}
