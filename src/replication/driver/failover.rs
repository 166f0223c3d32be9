//! FAILOVER, driven: holds writes back, waits until a replica has everything, hands the primary's part over to it, and follows it.
//!
//! Invariants:
//! - From before the replica is told to take over this node's log takes no entry, until it is known that the replica has not taken over: also
//!   not after a restart.
//! - A replica that has a link again on which it follows has not taken over: it would lead, or its log would not be a part of this one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use esker_storage::types::{Lsn, NodeId};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::dial::Target;
use super::keeper;
use super::links::Links;
use crate::replication::failover::Wish;
use crate::replication::status::{Failover, ReplicaState};
use crate::replication::wire::{TakeOver, TookOver};
use crate::server::Server;

/// How often it is looked how far the replica is.
const LOOK: Duration = Duration::from_millis(1);
/// A replica whose link broke before it answered is given so long to come back, if it has not taken over.
const UNANSWERED: Duration = Duration::from_secs(10);

/// What FAILOVER has to do with links.
#[derive(Default)]
pub(super) struct Failovers {
    wishes: Mutex<Option<mpsc::UnboundedSender<Wish>>>,
    handover: Mutex<Option<Handover>>,
    aborted: AtomicBool,
}

/// A replica that is to take over.
struct Handover {
    link: u64,
    order: TakeOver,
    /// Who it was sent to.
    sent_to: Option<NodeId>,
    answer: Option<TookOver>,
}

impl Failovers {
    /// Where wishes go to; none any more when the receiver is dropped.
    pub(super) fn wishes(&self) -> mpsc::UnboundedReceiver<Wish> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.wishes.lock() = Some(sender);
        receiver
    }

    /// Whether this link has an order to send.
    pub(super) fn is_due(&self, link: u64) -> bool {
        self.handover.lock().as_ref().is_some_and(|handover| handover.link == link && handover.sent_to.is_none())
    }

    /// Has this link send the order, if `send` can.
    pub(super) fn send(&self, link: u64, replica: NodeId, send: impl FnOnce(TakeOver) -> bool) {
        if let Some(handover) = self.handover.lock().as_mut()
            && handover.link == link
            && handover.sent_to.is_none()
            && send(handover.order)
        {
            handover.sent_to = Some(replica);
        }
    }

    /// The replica of this link has answered.
    pub(super) fn answered(&self, link: u64, answer: TookOver) {
        if let Some(handover) = self.handover.lock().as_mut()
            && handover.link == link
        {
            handover.answer = Some(answer);
        }
    }
}

impl Links {
    /// Begins to hand this node's part over.
    ///
    /// # Errors
    /// Why that cannot begin.
    pub(crate) fn fail_over(&self, server: &Server, wish: Wish) -> Result<(), &'static str> {
        server.update_replication(|status| match wish.refusal(status) {
            Some(refusal) => Err(refusal),
            None => {
                status.failover = Failover::WaitingForSync;
                Ok(())
            }
        })?;
        self.failovers.aborted.store(false, Ordering::SeqCst);
        server.clients.hold_writes(true);
        let sent = self.failovers.wishes.lock().as_ref().is_some_and(|wishes| wishes.send(wish).is_ok());
        if !sent {
            end(server);
            return Err("ERR the server is starting or stopping");
        }
        Ok(())
    }

    /// Ends a failover, unless the replica was told to take over.
    ///
    /// # Errors
    /// It was, or there is none.
    pub(crate) fn abort_failover(&self, server: &Server) -> Result<(), &'static str> {
        if server.replication().failover == Failover::None {
            return Err("ERR No failover in progress.");
        }
        let mut handover = self.failovers.handover.lock();
        if handover.as_ref().is_some_and(|handover| handover.sent_to.is_some()) {
            return Err("ERR the replica was told to take over already");
        }
        *handover = None;
        self.failovers.aborted.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// Writes flow again, here or not.
fn end(server: &Server) {
    *server.links.failovers.handover.lock() = None;
    server.update_replication(|status| status.failover = Failover::None);
    server.clients.hold_writes(false);
}

/// Follows wishes for as long as there are any.
pub(super) async fn run(server: Arc<Server>, mut wishes: mpsc::UnboundedReceiver<Wish>) {
    while let Some(wish) = wishes.recv().await {
        match attempt(&server, &wish).await {
            Ok(target) => {
                tracing::info!("failover: {}:{} takes over", target.host, target.port);
                become_of(&server, Some(target)).await;
            }
            Err(reason) => {
                tracing::warn!("failover: this node goes on as the primary: {reason}");
                if server.shard().is_replica() {
                    become_of(&server, None).await;
                }
            }
        }
        end(&server);
    }
}

async fn become_of(server: &Server, target: Option<Target>) {
    match server.links.order(target).await {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => tracing::error!("failover: {reason}"),
        Err(_) => tracing::warn!("failover: the server stops"),
    }
}

/// Whom to follow from now on, or why nobody has taken over.
async fn attempt(server: &Server, wish: &Wish) -> Result<Target, String> {
    let deadline = wish.timeout.map(|timeout| Instant::now() + timeout);
    // Without the fence first: meanwhile commands that were running finish, and others are held back.
    caught_up(server, wish, deadline).await?;
    let shard = server.shard_owned();
    // Nothing is written here from now on, whatever was under way.
    shard.become_replica();
    let (link, force) = caught_up(server, wish, deadline).await?;
    let target = {
        let mut status = server.replication();
        status.failover = Failover::InProgress;
        let replica = status.replicas.get(&link).ok_or("the link to the replica broke")?;
        Target { host: replica.address.clone(), port: replica.port, force: false }
    };
    if !keeper::hand_to(server, &target) {
        return Err("it cannot be kept who takes over".to_owned());
    }
    let order = TakeOver { lsn: shard.written_lsn(), epoch: shard.log().epoch(), force };
    {
        let mut handover = server.links.failovers.handover.lock();
        if server.links.failovers.aborted.load(Ordering::SeqCst) {
            return Err("it was aborted".to_owned());
        }
        *handover = Some(Handover { link, order, sent_to: None, answer: None });
    }
    server.links.feeds().wake();
    handed_over(server, link).await?;
    Ok(target)
}

/// Waits until a replica has everything; its link, and whether it is forced to take over without.
async fn caught_up(server: &Server, wish: &Wish, deadline: Option<Instant>) -> Result<(u64, bool), String> {
    loop {
        if server.links.failovers.aborted.load(Ordering::SeqCst) {
            return Err("it was aborted".to_owned());
        }
        let written = server.shard().written_lsn();
        if let Some(link) = wish.candidate(&server.replication(), written) {
            return Ok((link, false));
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let forced = wish.candidate(&server.replication(), Lsn(0)).filter(|_| wish.force);
            return forced.map(|link| (link, true)).ok_or_else(|| "no replica had everything in time".to_owned());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the replica has taken over, or certainly has not.
async fn handed_over(server: &Server, link: u64) -> Result<(), String> {
    let mut alone_since = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let (sent_to, answer) = match &*server.links.failovers.handover.lock() {
            None => return Err("it was aborted".to_owned()),
            Some(handover) => (handover.sent_to, handover.answer.clone()),
        };
        match answer {
            Some(TookOver { refused, .. }) if refused.is_empty() => return Ok(()),
            Some(TookOver { refused, .. }) => return Err(format!("the replica refuses: {refused}")),
            None => {}
        }
        if server.replication().replicas.contains_key(&link) {
            continue;
        }
        let Some(node) = sent_to else { return Err("the link to the replica broke".to_owned()) };
        let newer = server.links.feeds().link_of(node);
        let follows = |number| server.replication().replicas.get(&number).is_some_and(|replica| replica.state == ReplicaState::Online);
        if newer.is_some_and(follows) {
            return Err("the replica came back without having taken over".to_owned());
        }
        if alone_since.get_or_insert_with(Instant::now).elapsed() > UNANSWERED {
            tracing::warn!("failover: the link broke before the replica answered; it is taken to lead, as nothing says that it does not");
            return Ok(());
        }
    }
}
