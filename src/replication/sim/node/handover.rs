//! FAILOVER at a model node: the handover machines of both sides, and between them what the driver does.

use esker_storage::types::{EpochNumber, Lsn, NodeId};

use super::{ModelNode, Output, Part, now, send};
use crate::replication::follow;
use crate::replication::sim::disk::Role;
use crate::replication::wire::{TakeOver, TookOver};
use crate::sim::{ConnId, Env, SECOND};

/// A replica whose link broke before it answered is given so long to come back.
const UNANSWERED: u64 = 2 * SECOND;
/// How long writes are held back for a replica that lacks something.
const PATIENCE: u64 = SECOND;
/// Numbers of promotions leave room for restarts between them.
const RESTARTS: u32 = 1 << 16;

/// A replica that was told to take over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handover {
    to: usize,
    conn: ConnId,
    /// Since when it has no link.
    alone: Option<u64>,
}

/// The number of an epoch that follows one with this number.
fn promoted(last: u32) -> u32 {
    (last / RESTARTS + 1) * RESTARTS
}

impl ModelNode {
    /// Holds writes back until this replica has everything, for as long as that is worth it.
    pub(super) fn hand_over(&mut self, to: usize, env: &mut Env<'_, Self>) {
        if let Part::Primary(primary) = &mut self.part
            && primary.handover.is_none()
        {
            primary.wish = Some((to, env.now() + PATIENCE));
            self.tell_to_take_over(env);
        }
    }

    /// Tells a replica that is to take over to do so, if it has everything.
    fn tell_to_take_over(&mut self, env: &mut Env<'_, Self>) {
        let Part::Primary(primary) = &mut self.part else { return };
        primary.wish = primary.wish.filter(|(_, until)| env.now() < *until);
        let Some((to, _)) = primary.wish else { return };
        let epoch = primary.epoch;
        let streams = |link: &super::Link| link.feed.replica() == Some(NodeId(to as u64)) && link.feed.is_streaming();
        let Some(conn) = self.links.iter().find(|(_, link)| streams(link)).map(|(conn, _)| *conn) else { return };
        let order = TakeOver { lsn: Lsn(env.disk().last), epoch, force: false };
        let mut told = false;
        self.with_feed(conn, env, |feed, now, out| told = feed.take_over(order, now, out));
        if let Part::Primary(primary) = &mut self.part
            && told
        {
            (primary.handover, primary.wish) = (Some(Handover { to, conn, alone: None }), None);
            if self.setup.rules.handover_survives_restarts {
                env.disk().role = Role::Replica(Some(to));
            }
        }
    }

    /// Whether it takes no writes, as another may.
    pub(super) fn is_fenced(&self) -> bool {
        let Part::Primary(primary) = &self.part else { return false };
        primary.wish.is_some() || primary.handover.is_some() && self.setup.rules.handover_fences
    }

    /// The replica has answered.
    pub(super) fn answered(&mut self, conn: ConnId, answer: &TookOver, env: &mut Env<'_, Self>) {
        let Some(handover) = self.handover().filter(|handover| handover.conn == conn) else { return };
        if answer.refused.is_empty() {
            env.output(Output::HandedOver);
            self.follow(Some(handover.to), false, env);
        } else {
            self.lead_again(env);
        }
    }

    /// Looks whether a replica can be told now, and whether one whose link broke has not taken over.
    pub(super) fn watch_handover(&mut self, env: &mut Env<'_, Self>) {
        self.tell_to_take_over(env);
        let Some(handover) = self.handover().filter(|handover| !self.links.contains_key(&handover.conn)) else { return };
        let returned = |link: &super::Link| link.feed.replica() == Some(NodeId(handover.to as u64)) && link.feed.is_streaming();
        let since = handover.alone.unwrap_or(env.now());
        if !self.setup.rules.handover_waits_for_word || self.links.values().any(returned) {
            self.lead_again(env);
        } else if env.now() - since > UNANSWERED {
            self.follow(Some(handover.to), false, env);
        } else if let Part::Primary(primary) = &mut self.part {
            primary.handover = Some(Handover { alone: Some(since), ..handover });
        }
    }

    /// Whether another may lead in its place, or will be asked to.
    pub fn is_handing_over(&self) -> bool {
        self.has_told().is_some() || matches!(&self.part, Part::Primary(primary) if primary.wish.is_some())
    }

    /// Who was told to take over, and has not answered.
    pub fn has_told(&self) -> Option<usize> {
        self.handover().map(|handover| handover.to)
    }

    fn handover(&self) -> Option<Handover> {
        let Part::Primary(primary) = &self.part else { return None };
        primary.handover
    }

    fn lead_again(&mut self, env: &mut Env<'_, Self>) {
        let number = promoted(env.disk().epoch());
        self.lead(number, env);
    }

    /// Becomes the primary, as its primary wants, and says so.
    pub(super) fn take_over(&mut self, env: &mut Env<'_, Self>) {
        let Part::Replica(mut replica) = std::mem::replace(&mut self.part, Part::Waiting) else { return };
        let number = promoted(env.disk().epoch());
        self.lead(number, env);
        let (at, mut out) = (now(env).at, Vec::new());
        replica.follow.took_over(Ok(EpochNumber(number)), at, &mut out);
        for action in out {
            match (action, replica.conn) {
                (follow::Action::Send(message), Some(conn)) => send(conn, &message, env),
                (follow::Action::Close(_), Some(conn)) => env.close(conn),
                _ => {}
            }
        }
    }
}
