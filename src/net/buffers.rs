//! Buffers that the connections of a worker share, so that an idle connection holds none and a busy worker's stay in its cache.
//!
//! Invariants: a buffer taken is put back within the same poll (the read buffer) or once all of it is sent (reply buffers).

use std::cell::{Cell, RefCell};

/// What one read takes at most while a connection has no unfinished request.
const READ: usize = 64 * 1024;
/// The size a reply buffer starts with.
const REPLY: usize = 16 * 1024;
/// Larger reply buffers are given back to the allocator.
const LARGEST_KEPT: usize = 256 * 1024;
/// Reply buffers kept for later, a worker.
const KEPT: usize = 64;

thread_local! {
    static READ_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static REPLY_BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// The worker's read buffer, empty.
pub(super) fn take_read_buffer() -> Vec<u8> {
    let mut buffer = READ_BUFFER.take();
    if buffer.capacity() < READ {
        buffer.reserve_exact(READ);
    }
    buffer
}

/// Puts the worker's read buffer back.
pub(super) fn put_read_buffer(mut buffer: Vec<u8>) {
    buffer.clear();
    READ_BUFFER.set(buffer);
}

/// An empty reply buffer.
pub(super) fn take_reply_buffer() -> Vec<u8> {
    REPLY_BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(REPLY))
}

/// Keeps a reply buffer for the worker's next connection, if it is of a common size.
pub(super) fn put_reply_buffer(mut buffer: Vec<u8>) {
    if (REPLY..=LARGEST_KEPT).contains(&buffer.capacity()) {
        buffer.clear();
        REPLY_BUFFERS.with_borrow_mut(|kept| {
            if kept.len() < KEPT {
                kept.push(buffer);
            }
        });
    }
}
