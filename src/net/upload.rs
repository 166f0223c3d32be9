//! Large values of SET go from the socket straight into a value segment: neither the read buffer nor a lock holds them.
//!
//! Invariants:
//! - Only the third argument of a SET outside MULTI is taken this way; what follows it in the request is parsed as usual.
//! - While an upload is under way nothing else of the connection runs. Its command sees an empty argument and the stored value in the
//!   session.
//! - An upload is of the shard that the connection's turns run on. When another takes its place, the command fails: see `meet`.

use std::io;

use esker_storage::shard::{Shard, ValueWriter};

use super::connection::Connection;

/// The line end behind a bulk string.
const LINE_END: usize = 2;

/// A value that is arriving.
pub(super) struct Upload {
    writer: ValueWriter,
    /// Bytes of the line end that are still to come, once the value is there.
    line_end: usize,
}

impl Upload {
    /// Takes what belongs to the value and its line end from the front of `bytes`; returns how much that was.
    fn take(&mut self, bytes: &[u8]) -> esker_storage::error::Result<usize> {
        let of_value = usize::try_from(self.writer.missing()).unwrap_or(usize::MAX).min(bytes.len());
        self.writer.write(&bytes[..of_value])?;
        if self.writer.missing() > 0 {
            return Ok(of_value);
        }
        let of_line_end = self.line_end.min(bytes.len() - of_value);
        self.line_end -= of_line_end;
        Ok(of_value + of_line_end)
    }

    fn is_complete(&self) -> bool {
        self.writer.missing() == 0 && self.line_end == 0
    }
}

impl Connection {
    /// Begins an upload if the cut request at the end of the own input is a SET whose large value is arriving.
    pub(super) fn begin_upload(&mut self) {
        let shard = self.server.shard();
        if self.shard != shard.number() {
            // The value will be read as any other.
            return;
        }
        let threshold = shard.large_value_threshold();
        let Some(pending) = self.parser.pending_argument().filter(|pending| pending.len >= threshold) else { return };
        let plain = self.session.authenticated && !self.session.queue.is_open();
        let is_set = self.parser.argument(&self.input[self.consumed..], 0).is_some_and(|name| name.eq_ignore_ascii_case(b"set"));
        if !plain || !is_set || pending.number != 2 {
            return;
        }
        // Without room the value is read as any other, and the command gets the error.
        let Ok(writer) = shard.value_writer(pending.len as u64) else { return };
        let mut upload = Upload { writer, line_end: LINE_END };
        let start = self.consumed + pending.start;
        match upload.take(&self.input[start..]) {
            Ok(_) => {
                self.input.truncate(start);
                self.upload = Some(upload);
            }
            Err(error) => tracing::error!("cannot write a large value: {error}"),
        }
    }

    /// Feeds what was read into the upload. True when the value is complete; what came behind it is in the own input.
    pub(super) fn feed_upload(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let Some(upload) = &mut self.upload else { return Ok(false) };
        let taken = upload.take(bytes).map_err(|error| {
            tracing::error!("cannot write a large value: {error}");
            io::Error::other(error)
        })?;
        let complete = upload.is_complete();
        if complete {
            self.input.extend_from_slice(&bytes[taken..]);
        }
        Ok(complete)
    }

    /// Puts a complete value on the medium, off the worker, and hands it to the command. False: it could not be written.
    pub(super) async fn finish_upload(&mut self) -> bool {
        let Some(upload) = self.upload.take() else { return true };
        match tokio::task::spawn_blocking(move || upload.writer.finish()).await {
            Ok(Ok(stored)) => {
                self.session.uploaded = Some(stored);
                self.parser.skip_pending();
                self.runnable = true;
                true
            }
            Ok(Err(error)) => {
                tracing::error!("cannot write a large value: {error}");
                self.reply.error(&format!("ERR {error}"));
                false
            }
            Err(_) => false,
        }
    }

    /// After the command: a value that it did not use is removed.
    pub(super) fn settle_upload(&mut self, shard: &Shard) {
        if let Some(stored) = self.session.uploaded.take()
            && !std::mem::take(&mut self.session.upload_used)
            && let Err(error) = shard.discard_value(&stored)
        {
            tracing::warn!("a value that no command used is left for the next start to remove: {error}");
        }
    }
}
