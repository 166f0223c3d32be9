//! DEBUG: the subset that does no harm and that clients' tests use.

use std::time::Duration;

use esker_storage::glob;

use super::{Call, CommandError, Effect, Flags, Group, Keys, Spec};
use crate::protocol::Version;

/// The family's rows.
pub const SPECS: &[Spec] = &[Spec {
    name: "debug",
    arity: -2,
    flags: Flags::ADMIN.and(Flags::LOADING),
    keys: Keys::All,
    group: Group::Server,
    since: "1.0.0",
    complexity: "Depends on the subcommand",
    summary: "Helps testing; DEBUG HELP lists the subcommands, all of them harmless.",
    handler: debug,
}];

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANGE-REPL-ID",
    "    Accepted: there is no replication id to change.",
    "ERROR <text>",
    "    Answers with this error.",
    "LOADAOF",
    "    Takes a checkpoint.",
    "LOG <text>",
    "    Writes the text to the server's log.",
    "OBJECT <key>",
    "    Tells how a key is stored.",
    "PROTOCOL <type>",
    "    Answers with an example of a type: string, integer, double, bignum, null, array, set, map, attrib, push, verbatim, true, false.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Accepted: there are no quicklists.",
    "RELOAD [<option> ...]",
    "    Takes a checkpoint.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Stops or resumes the removal of expired keys that nobody asks for.",
    "SLEEP <seconds>",
    "    Holds back this reply, and nobody else's.",
    "STRINGMATCH-LEN <length> <pattern>",
    "    Matches a text of that many `a` with the pattern: 1 or 0.",
    "HELP",
    "    Prints this help.",
];

fn debug(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    allowed(call)?;
    let subcommand = call.arg(1).to_ascii_lowercase();
    match (subcommand.as_slice(), call.args.len()) {
        (b"help", 2) => help(call),
        (b"sleep", 3) => return sleep(call),
        (b"object", 3) => return object(call),
        (b"protocol", 3) => return protocol(call),
        (b"error", 3) => return Err(CommandError::Owned(String::from_utf8_lossy(call.arg(2)).into_owned())),
        (b"log", 3) => log(call),
        (b"set-active-expire", 3) => set_active_expire(call),
        (b"stringmatch-len", 4) => return stringmatch(call),
        (b"reload", _) | (b"loadaof", 2) => checkpoint(call),
        (b"change-repl-id", 2) | (b"quicklist-packed-threshold", 3) => call.reply.ok(),
        _ => return Err(unknown(call.arg(1))),
    }
    Ok(())
}

fn unknown(subcommand: &[u8]) -> CommandError {
    let name = String::from_utf8_lossy(&subcommand[..subcommand.len().min(128)]);
    CommandError::Owned(format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP."))
}

fn allowed(call: &Call<'_, '_>) -> Result<(), CommandError> {
    let loopback = || call.session.client.address.parse::<std::net::SocketAddr>().is_ok_and(|a| a.ip().to_canonical().is_loopback());
    match call.server.config.text("enable-debug-command").as_str() {
        "yes" => Ok(()),
        "local" if loopback() => Ok(()),
        _ => Err(CommandError::Text(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local \
             connection, otherwise you need to set this option in the configuration file, and then restart the server.",
        )),
    }
}

fn help(call: &mut Call<'_, '_>) {
    call.reply.array(HELP.len());
    for line in HELP {
        call.reply.simple(line);
    }
}

fn sleep(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let seconds = std::str::from_utf8(call.arg(2)).ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    let duration = Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|_| CommandError::NotFloat)?;
    if !duration.is_zero() {
        call.effects.push(Effect::Sleep(duration));
    }
    call.reply.ok();
    Ok(())
}

fn object(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let key = call.key(2);
    let found = call.txn.metadata(call.session.db, &key)?.ok_or(CommandError::Text("ERR no such key"))?;
    let (slot, lsn, len) = (key.slot(), found.lsn, found.len);
    call.reply
        .simple(&format!("Value at:0x0 refcount:1 encoding:raw serializedlength:{len} lru:0 lru_seconds_idle:0 slot:{slot} lsn:{lsn}"));
    Ok(())
}

fn log(call: &mut Call<'_, '_>) {
    tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(call.arg(2)));
    call.reply.ok();
}

fn set_active_expire(call: &mut Call<'_, '_>) {
    call.shard.set_active_expiry(call.arg(2) != b"0");
    call.reply.ok();
}

fn stringmatch(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    const LONGEST: i64 = 1 << 20;
    let len = call.integer(2)?.clamp(0, LONGEST);
    let matched = glob::matches(call.arg(3), &vec![b'a'; len as usize], false);
    call.reply.integer(i64::from(matched));
    Ok(())
}

fn checkpoint(call: &mut Call<'_, '_>) {
    call.effects.push(Effect::Checkpoint);
    call.reply.ok();
}

#[allow(clippy::approx_constant, reason = "the number that Redis replies with")]
fn protocol(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let resp3 = call.reply.version() == Version::Resp3;
    let reply = &mut *call.reply;
    match call.args[2].to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double(3.141),
        b"null" => reply.null(),
        b"bignum" if resp3 => reply.buffer_mut().extend_from_slice(b"(1234567999999999999999999999999999999\r\n"),
        b"bignum" => reply.bulk(b"1234567999999999999999999999999999999"),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|i| reply.integer(i));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|i| reply.integer(i));
        }
        b"map" => {
            reply.map(3);
            for i in 0..3 {
                reply.integer(i);
                reply.boolean(i == 1);
            }
        }
        b"attrib" => {
            if resp3 {
                reply.buffer_mut().extend_from_slice(b"|1\r\n");
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if !resp3 {
                return Err(CommandError::Text("ERR RESP2 is not supported by this command"));
            }
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
        }
        b"verbatim" => reply.verbatim("This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => {
            return Err(CommandError::Text(
                "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}
