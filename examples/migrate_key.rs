//! Moves a key from one node to another: GET on one, SET on the other, DELETE on the first. Each node is an Esker or a Redis.
//!
//! `cargo run --example migrate_key -- redis://localhost:6379 redis://localhost:7000 greeting`

use redis::{Client, Commands, Connection, RedisResult};

/// Moves the key; false if the source has none.
pub fn migrate_key(source: &mut Connection, target: &mut Connection, key: &str) -> RedisResult<bool> {
    let Some(value) = source.get::<_, Option<Vec<u8>>>(key)? else { return Ok(false) };
    target.set::<_, _, ()>(key, value)?;
    // Only now: whatever fails before, the key is still there.
    source.del::<_, ()>(key)?;
    Ok(true)
}

#[allow(dead_code, reason = "a test takes the function above from here")]
fn main() -> RedisResult<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, target, key] = &arguments[..] else { panic!("migrate_key SOURCE TARGET KEY") };
    let moved = migrate_key(&mut Client::open(&source[..])?.get_connection()?, &mut Client::open(&target[..])?.get_connection()?, key)?;
    println!("{}", if moved { "moved" } else { "there is no such key" });
    Ok(())
}
