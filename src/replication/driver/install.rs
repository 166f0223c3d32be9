//! Putting a snapshot that has arrived in service.

use std::sync::Arc;

use esker_storage::difference::Assembled;
use esker_storage::error::StorageError;
use esker_storage::fs::Directory;
use esker_storage::snapshot::{Aside, Exchanged, Staging, exchange};
use esker_storage::types::HistoryId;

use super::frames::LinkError;
use super::links;
use crate::replication::wire::Listing;
use crate::server::Server;
use crate::shard::{self, Served};

/// Makes a copy of the shard in service with what differs, beside it; the second says what is lacking for that, encoded.
pub(super) async fn assemble(
    server: &Arc<Server>,
    mut staging: Staging,
    listing: Listing,
    shard: &Arc<Served>,
) -> Result<(Staging, Option<Vec<u8>>), LinkError> {
    let (shard, works) = (Arc::clone(shard), server.links.works.begin().await);
    let assembled = tokio::task::spawn_blocking(move || {
        let _works = works;
        let assembled = staging.assemble(&shard, &listing.manifest, listing.lsn, shard.node())?;
        let lacking = if let Assembled::Lacks(ops) = assembled { Some(ops.encode()) } else { None };
        Ok::<_, StorageError>((staging, lacking))
    });
    Ok(assembled.await.map_err(std::io::Error::other)??)
}

/// Opens the snapshot in the place of the shard in service, which answers reads until then. What was there before is kept if it is not the
/// past of what has arrived.
pub(super) async fn install(
    server: &Arc<Server>,
    root: &Arc<dyn Directory>,
    old: &Arc<Served>,
    history: Option<HistoryId>,
) -> Result<Arc<Served>, LinkError> {
    let related = history == Some(old.log().lineage().history);
    let aside = if related || old.index().keys() == 0 { Aside::Remove } else { Aside::Keep };
    let (own, root, before, works) = (Arc::clone(server), Arc::clone(root), Arc::clone(old), server.links.works.begin().await);
    // Whoever waits for it may be gone before it is done, and it is done all the same.
    let done = tokio::task::spawn_blocking(move || {
        let exchanged = exchange(&root, &before, aside, shard::options(&own.config), &|| works.is_wanted(&own.links.works))?;
        put_in_service(&own, exchanged);
        Ok::<_, StorageError>(())
    });
    done.await.map_err(std::io::Error::other)??;
    Ok(server.shard_owned())
}

fn put_in_service(server: &Arc<Server>, exchanged: Exchanged) {
    if let Some(kept) = &exchanged.kept {
        tracing::warn!(directory = %kept.display(), "the data that this node had was set aside");
    }
    let report = exchanged.shard.recovery_report();
    tracing::info!(keys = report.keys, lsn = report.last_lsn.0, millis = report.duration.as_millis() as u64, "a snapshot is in service");
    let retired = server.replace_shard(exchanged.shard);
    links::begin(server);
    // Not here: somebody may use it for a long time yet.
    let close = move || {
        if let Err(error) = retired.close() {
            tracing::error!("what a snapshot took the place of did not close: {error}");
        }
    };
    drop(std::thread::Builder::new().name("esker-retire".to_owned()).spawn(close));
}
