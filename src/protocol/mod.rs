//! RESP2 and RESP3: requests in, replies out. No sockets here.

mod reply;

pub use reply::{Reply, Version};
