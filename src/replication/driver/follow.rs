//! The replica's side of a link, driven.

use std::sync::Arc;
use std::time::Duration;

use esker_storage::error::StorageError;
use esker_storage::fs::Directory;
use esker_storage::shard::ValueReceiver;
use esker_storage::snapshot::{Expected, Staging};
use esker_storage::types::{EpochNumber, HistoryId, Lsn, NodeId, ShardId};
use tokio::net::TcpStream;

use super::damage::Damage;
use super::dial::{Target, discard_copies, obey};
use super::frames::{Frames, LinkError};
use super::install::{assemble, install};
use super::keeper;
use super::links::{lineage_of, now};
use crate::config::ReplicationMode;
use crate::replication::follow::{Action, Follow, Me, Options, Standing};
use crate::replication::status::{LinkState, Progress};
use crate::replication::time::Millis;
use crate::replication::wire::{Bye, ByeCode, Entries, File, Limits, Listing, Message, Piece, ValuePiece, encode};
use crate::server::Server;
use crate::shard::Served;

/// How soon a flush that the medium has done is told.
const FLUSH_LOOK: Duration = Duration::from_millis(50);

/// A replica's link, over all its connections.
pub(super) struct Following {
    server: Arc<Server>,
    root: Arc<dyn Directory>,
    shard: Arc<Served>,
    follow: Follow,
    staging: Option<(Staging, Listing)>,
    /// What differs did not do.
    needs_whole: bool,
    /// Nothing is left of copies that were not taken into service.
    is_tidy: bool,
    damage: Damage,
    /// What arrives of a large value.
    value: Option<ValueReceiver>,
    pause: Duration,
    over: Option<Bye>,
    took_over: bool,
}

impl Following {
    pub(super) fn new(server: &Arc<Server>, root: &Arc<dyn Directory>, target: &Target) -> Self {
        let shard = server.shard_owned();
        let config = &server.config;
        let timeout = Millis(config.repl_timeout().as_millis() as u64);
        let me = Me {
            node: shard.node(),
            incarnation: shard.log().incarnation(),
            listening_port: config.replica_announce_port(),
            announce_ip: config.replica_announce_ip().unwrap_or_default(),
            force: target.force,
        };
        let follow = Follow::new(Options { timeout, ..Options::default() }, me);
        let (server, root) = (Arc::clone(server), Arc::clone(root));
        Self {
            server,
            root,
            shard,
            follow,
            staging: None,
            needs_whole: false,
            is_tidy: false,
            damage: Damage::default(),
            value: None,
            pause: Duration::ZERO,
            over: None,
            took_over: false,
        }
    }

    /// Serves one connection until it is over; why it is.
    pub(super) async fn run(&mut self, stream: TcpStream, input: Vec<u8>) -> Result<String, LinkError> {
        let mut frames = Frames::new(stream, input, Limits::default());
        self.over = None;
        self.step(&mut frames, |follow, at, out| follow.connected(at, out)).await?;
        loop {
            if let Some(bye) = self.over.take() {
                return Ok(bye.reason);
            }
            let deadline = self.follow.deadline().map_or(FLUSH_LOOK, |due| Duration::from_millis((due - now(&self.server).at).0));
            let behind = self.shard.flushed_lsn() < self.shard.written_lsn();
            let until = if behind { deadline.min(FLUSH_LOOK) } else { deadline };
            tokio::select! {
                arrived = frames.arrived() => {
                    arrived?;
                    self.take_messages(&mut frames).await?;
                }
                () = tokio::time::sleep(until) => self.step(&mut frames, |follow, at, out| follow.tick(at, out)).await?,
            }
            self.tell_progress(&mut frames).await?;
            if self.follow.is_streaming() && !std::mem::replace(&mut self.is_tidy, true) {
                discard_copies(&self.root).await;
            }
            if self.follow.is_streaming() && self.damage.is_found(&self.shard) {
                tracing::warn!("some of this node's log is damaged: the primary is asked for it");
                self.step(&mut frames, |follow, _, out| follow.leave(ByeCode::Storage, "its log is damaged", out)).await?;
            }
        }
    }

    async fn take_messages(&mut self, frames: &mut Frames) -> Result<(), LinkError> {
        let taken = frames.take();
        let mut used = 0;
        while let Some((message, len)) = frames.next(&taken[used..])? {
            self.step(frames, |follow, at, out| follow.message(message, at, out)).await?;
            used += len;
            if self.over.is_some() {
                break;
            }
        }
        frames.give_back(taken, used);
        Ok(())
    }

    /// Says how far the log is, when nothing waits to be read.
    async fn tell_progress(&mut self, frames: &mut Frames) -> Result<(), LinkError> {
        if self.took_over {
            return Ok(());
        }
        if self.follow.is_streaming() {
            if self.server.config.hot().replication_mode() == ReplicationMode::Sync && self.shard.flushed_lsn() < self.shard.written_lsn() {
                self.shard.flush_log()?;
            }
            let (written, flushed) = (self.shard.written_lsn(), self.shard.flushed_lsn());
            self.follow.progress(written, flushed, written);
        }
        self.step(frames, |follow, at, out| follow.drained(at, out)).await?;
        self.server.links.promise().told(self.follow.committed());
        if self.follow.is_streaming() {
            keeper::caught_up(&self.server, self.shard.written_lsn(), self.follow.committed());
        }
        self.server.links.log_grown();
        self.note(self.follow.state());
        Ok(())
    }

    /// Has the machine do something, and does what it wants done.
    async fn step<'a>(
        &mut self,
        frames: &mut Frames,
        step: impl FnOnce(&mut Follow, Millis, &mut Vec<Action<'a>>),
    ) -> Result<(), LinkError> {
        let mut out = Vec::new();
        step(&mut self.follow, now(&self.server).at, &mut out);
        while !out.is_empty() {
            for action in std::mem::take(&mut out) {
                self.carry_out(frames, action, &mut out).await?;
            }
        }
        Ok(())
    }

    async fn carry_out<'a>(&mut self, frames: &mut Frames, action: Action<'a>, out: &mut Vec<Action<'a>>) -> Result<(), LinkError> {
        let at = now(&self.server).at;
        match action {
            Action::Send(message) => send(frames, &message).await?,
            Action::TellStanding => {
                let standing = self.standing();
                self.follow.standing(standing, at, out);
            }
            Action::SaveDivergent { above } => {
                self.save_divergent(above)?;
                self.follow.divergent_saved(out);
            }
            Action::BeginStaging(listing) => {
                let there = self.stage(*listing)?;
                self.follow.staged(&there, at, out);
            }
            Action::WritePiece(piece) => self.write_piece(&piece)?,
            Action::Cut { to } => {
                self.cut(to).await?;
                self.follow.installed(now(&self.server).at, out);
            }
            Action::Install(_) => match self.install().await? {
                Some(lacking) => self.follow.lacks(lacking, now(&self.server).at, out),
                None => self.follow.installed(now(&self.server).at, out),
            },
            Action::Apply(entries) => self.apply(&entries, out)?,
            Action::WriteValue { piece, complete } => self.write_value(&piece, complete)?,
            Action::TakeOver => {
                let outcome = self.take_over();
                self.follow.took_over(outcome, at, out);
            }
            Action::Close(bye) => self.over = Some(bye),
            Action::Reconnect { after } => self.pause = Duration::from_millis(after.0),
        }
        Ok(())
    }

    /// Becomes the primary.
    fn take_over(&mut self) -> Result<EpochNumber, String> {
        obey(&self.server, None)?;
        self.took_over = true;
        Ok(self.shard.log().epoch())
    }

    /// Whether this node is the primary now.
    pub(super) fn took_over(&self) -> bool {
        self.took_over
    }

    fn standing(&mut self) -> Standing {
        let (lineage, flushed) = (lineage_of(&self.shard), self.shard.flushed_lsn());
        Standing { lineage, flushed, keys: self.shard.index().keys(), whole: self.needs_whole, damaged: self.damage.tell(&self.shard) }
    }

    fn save_divergent(&self, above: Lsn) -> Result<(), LinkError> {
        if above.0 == 0 {
            // Nothing in common: all of it is set aside as it is.
            return Ok(());
        }
        if let Some(kept) = self.shard.save_divergent(self.root.as_ref(), above)? {
            tracing::warn!(file = %kept.path.display(), entries = kept.entries, "entries that the primary does not have were set aside");
        }
        let files = esker_storage::snapshot::divergent_files(self.root.as_ref())?;
        self.server.update_replication(|status| status.divergent_files = files);
        Ok(())
    }

    fn stage(&mut self, listing: Listing) -> Result<Vec<u64>, LinkError> {
        self.is_tidy = false;
        let source = self.follow.primary().unwrap_or(NodeId(0));
        let expected = |file: &File| Expected { name: file.name.clone(), bytes: file.bytes, sealed: file.sealed, from: file.from };
        let files: Vec<_> = listing.files.iter().map(expected).collect();
        if let Some((mut staging, _)) = self.staging.take() {
            // What was lacking beside them.
            files.iter().try_for_each(|file| staging.also(file))?;
            self.staging = Some((staging, listing));
            return Ok(vec![0; files.len()]);
        }
        let (staging, there) = Staging::begin(&self.root, ShardId(0), source, listing.above, &files)?;
        self.staging = Some((staging, listing));
        Ok(there)
    }

    fn write_piece(&mut self, piece: &Piece<'_>) -> Result<(), LinkError> {
        if let Some((staging, listing)) = &mut self.staging
            && let Some(file) = listing.files.get(piece.file as usize)
        {
            staging.write(&file.name, piece.offset, piece.raw)?;
        }
        Ok(())
    }

    /// Puts what has arrived in service; what is lacking for that, if something is.
    async fn install(&mut self) -> Result<Option<Vec<u8>>, LinkError> {
        let Some((staging, listing)) = self.staging.take() else { return Ok(None) };
        if listing.above == Lsn(0) {
            staging.finish(&listing.manifest, self.shard.node())?;
        } else {
            let assembled = assemble(&self.server, staging, listing.clone(), &self.shard).await;
            // All of it will do, and takes no less room.
            let (staging, lacking) = assembled.inspect_err(|error| self.needs_whole = !error.is_disk_full())?;
            if let Some(lacking) = lacking {
                tracing::info!(bytes = lacking.len(), "entries of this node's log are missing: they are asked for");
                // If that does not come about.
                self.needs_whole = true;
                self.staging = Some((staging, listing));
                return Ok(Some(lacking));
            }
        }
        self.put_in_service(history_of(&listing)).await.map(|()| None)
    }

    async fn cut(&mut self, to: Lsn) -> Result<(), LinkError> {
        let (root, shard) = (Arc::clone(&self.root), Arc::clone(&self.shard));
        let (history, works) = (shard.log().lineage().history, self.server.links.works.begin().await);
        let done = tokio::task::spawn_blocking(move || {
            let _works = works;
            esker_storage::difference::cut(&root, &shard, to)
        });
        match done.await.map_err(std::io::Error::other)? {
            // Cleaned since that was decided: the next hello tells.
            Err(error @ StorageError::NotInLog { .. }) => return Err(error.into()),
            outcome => outcome.inspect_err(|error| self.needs_whole = !error.is_disk_full())?,
        }
        self.put_in_service(Some(history)).await
    }

    async fn put_in_service(&mut self, history: Option<HistoryId>) -> Result<(), LinkError> {
        self.value = None;
        let installed = install(&self.server, &self.root, &self.shard, history).await;
        self.shard = installed.inspect_err(|error| self.needs_whole = !error.is_disk_full())?;
        self.needs_whole = false;
        if self.damage.mended() {
            self.server.update_replication(|status| status.repairs += 1);
        }
        Ok(())
    }

    fn apply(&mut self, entries: &Entries<'_>, out: &mut Vec<Action<'_>>) -> Result<(), LinkError> {
        match self.shard.replicate(entries.raw) {
            Ok(written) => {
                self.follow.progress(written, self.shard.flushed_lsn(), written);
                Ok(())
            }
            Err(error) => {
                self.follow.leave(ByeCode::Storage, &error.to_string(), &mut Vec::new());
                out.clear();
                Err(error.into())
            }
        }
    }

    fn write_value(&mut self, piece: &ValuePiece<'_>, complete: bool) -> Result<(), LinkError> {
        if self.shard.has_value(piece.id) {
            // Of a link that broke before the entry came.
            return Ok(());
        }
        let mut value = match self.value.take().filter(|value| value.id() == piece.id) {
            Some(value) => value,
            None => self.shard.receive_value(piece.id, piece.total)?,
        };
        value.write(piece.raw)?;
        if complete {
            value.finish()?;
        } else {
            self.value = Some(value);
        }
        Ok(())
    }

    /// The connection is over: how long to wait before the next one.
    pub(super) fn disconnected(&mut self) -> Duration {
        let mut out = Vec::new();
        self.follow.disconnected(&mut out);
        for action in out {
            if let Action::Reconnect { after } = action {
                self.pause = Duration::from_millis(after.0);
            }
        }
        (self.staging, self.value) = (None, None);
        self.note(LinkState::Connect);
        self.pause
    }

    /// Tells INFO how the link is.
    pub(super) fn note(&self, state: LinkState) {
        let at = self.server.clock();
        self.server.links.set_streaming(state == LinkState::Connected);
        self.server.update_replication(|status| {
            let Some(link) = status.link_mut() else { return };
            if link.state() != state {
                link.set_state(state, at);
                if link.is_up() {
                    tracing::info!("following {}:{}", link.host, link.port);
                }
            }
            link.last_io = Some(self.follow.heard());
            link.received = self.follow.received();
            link.progress = self.follow.fetching().map(|(arrived, missing)| Progress { total: arrived + missing, arrived, last_io: at });
        });
    }
}

fn history_of(listing: &Listing) -> Option<HistoryId> {
    esker_storage::manifest::Manifest::decode(&listing.manifest).ok().map(|manifest| manifest.history())
}

async fn send(frames: &mut Frames, message: &Message<'_>) -> Result<(), LinkError> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    frames.send(&bytes, &[]).await
}
