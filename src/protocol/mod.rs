//! RESP2 and RESP3: requests in, replies out. No sockets here.

mod inline;
mod reply;
mod request;

pub use reply::{Reply, Version};
pub use request::{Limits, Parsed, ProtocolError, RequestParser};
