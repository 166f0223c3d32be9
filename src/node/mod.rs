//! What a node remembers of itself beside its data: nothing that could not be found again in the manifest and the log, or done without.

mod metadata;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use esker_storage::types::NodeId;

pub use metadata::{Metadata, MetadataError, Summary};

use crate::observe::RecoveryFigures;
use crate::server::Server;

/// Where it is kept, in the data directory.
const DIRECTORY: &str = "node";

/// Counts this start of the node and keeps how its data came back; gives what is known of it now. Takes some milliseconds, so it is done
/// beside serving.
///
/// # Errors
/// The metadata cannot be written. The server goes on without it.
pub fn record_start(data: &Path, node: NodeId, recovery: &RecoveryFigures) -> Result<Summary, MetadataError> {
    let metadata = Metadata::open(&data.join(DIRECTORY))?;
    metadata.set_node_id(node)?;
    metadata.count_start()?;
    let before = metadata.recovery()?;
    metadata.set_recovery(recovery)?;
    metadata.make_durable()?;
    Ok(Summary { recovery: before, ..metadata.summary()? })
}

/// Does [`record_start`] on a thread of its own and leaves what is known to the server.
///
/// # Errors
/// There can be no thread.
pub fn remember(server: &Arc<Server>, data: &Path) -> std::io::Result<JoinHandle<()>> {
    let (server, data) = (Arc::clone(server), data.to_owned());
    std::thread::Builder::new().name("node".to_owned()).spawn(move || {
        let figures = server.storage_figures();
        match record_start(&data, figures.node, &figures.recovery) {
            Ok(summary) => server.node.set(summary).unwrap_or_default(),
            Err(error) => tracing::warn!("{error}"),
        }
    })
}
