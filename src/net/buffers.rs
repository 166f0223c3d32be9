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
/// The room for a request that is put aside.
const REQUEST: usize = 1024;
/// Buffers of a kind kept for later, a worker.
const KEPT: usize = 64;

thread_local! {
    static READ_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static REPLY_BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static REQUEST_BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
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
pub(super) fn put_reply_buffer(buffer: Vec<u8>) {
    if (REPLY..=LARGEST_KEPT).contains(&buffer.capacity()) {
        REPLY_BUFFERS.with_borrow_mut(|kept| keep(kept, buffer));
    }
}

/// An empty buffer for a request that is put aside.
pub(super) fn take_request_buffer() -> Vec<u8> {
    REQUEST_BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(REQUEST))
}

/// Keeps the buffer of a request that has run, if it is of the common size.
pub(super) fn put_request_buffer(buffer: Vec<u8>) {
    if buffer.capacity() == REQUEST {
        REQUEST_BUFFERS.with_borrow_mut(|kept| keep(kept, buffer));
    }
}

fn keep(kept: &mut Vec<Vec<u8>>, mut buffer: Vec<u8>) {
    if kept.len() < KEPT {
        buffer.clear();
        kept.push(buffer);
    }
}
