//! Why a command is not run at all, in Redis's order of checks and with its texts. Arguments of the client are quoted as they are, so the
//! texts are bytes.

use super::table::Resolved;
use super::{Flags, Gates, Spec};
use crate::protocol::{Reply, Version};
use crate::session::Session;

/// How much of a client's arguments an error repeats.
const QUOTED_AT_MOST: usize = 128;

/// What happened to a primary that takes no commands, and what to do.
const LOST_POWER: &str = "This primary lost power and may lack writes that it promised. Promote the replica that has most and have this server \
                          follow it (REPLICAOF host port), or have it go on as it is (REPLICAOF NO ONE).";

/// An error reply: its code and the text after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: &'static str,
    text: Vec<u8>,
}

impl Refusal {
    fn new(code: &'static str, text: impl Into<Vec<u8>>) -> Self {
        Self { code, text: text.into() }
    }

    /// The first word of the reply.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// Writes the error reply.
    pub(super) fn write(&self, reply: &mut Reply) {
        self.write_after(format!("-{} ", self.code).as_bytes(), reply);
    }

    /// Writes it as the reason why EXEC ran nothing.
    pub(super) fn write_as_abort(&self, reply: &mut Reply) {
        let code = if self.code == "ERR" { String::new() } else { format!("{} ", self.code) };
        self.write_after(format!("-EXECABORT Transaction discarded because of: {code}").as_bytes(), reply);
    }

    fn write_after(&self, head: &[u8], reply: &mut Reply) {
        let out = reply.buffer_mut();
        out.extend_from_slice(head);
        out.extend(self.text.iter().map(|&byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte }));
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether the command may run (or be queued) now, while these [`Gates`] are closed.
pub(super) fn check(closed: u32, session: &Session, spec: &Spec, args: &[&[u8]], version: Version) -> Result<(), Refusal> {
    if !arity_fits(spec.arity, args.len()) {
        return Err(wrong_arity(spec.name));
    }
    if !session.authenticated && !spec.flags.has(Flags::NO_AUTH) {
        return Err(Refusal::new("NOAUTH", "Authentication required."));
    }
    if session.queue.is_open() && spec.flags.has(Flags::NO_MULTI) {
        return Err(Refusal::new("ERR", "Command not allowed inside a transaction"));
    }
    if closed & (Gates::NO_ROOM | Gates::OF_WRITES | Gates::LOST_POWER) != 0 {
        check_writes(closed, session, spec)?;
    }
    if version == Version::Resp2 && !session.subscriptions.is_empty() && !spec.flags.has(Flags::WHILE_SUBSCRIBED) {
        let allowed = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
        return Err(Refusal::new("ERR", format!("Can't execute '{}': {allowed}", spec.name)));
    }
    if closed & (Gates::LINK_DOWN | Gates::LOADING | Gates::LOST_POWER) != 0 {
        check_data(closed, session, spec)?;
    }
    Ok(())
}

/// Whether this is so of the command or, for EXEC, of any that it runs.
fn any(session: &Session, spec: &Spec, is_so: impl Fn(&Spec) -> bool) -> bool {
    is_so(spec) || (spec.name == "exec" && session.queue.commands.iter().any(|queued| is_so(queued.spec)))
}

/// Whether the command may run although something keeps writes from running.
#[cold]
fn check_writes(closed: u32, session: &Session, spec: &Spec) -> Result<(), Refusal> {
    if closed & Gates::NO_ROOM != 0 && any(session, spec, |spec| spec.flags.has(Flags::DENYOOM)) {
        return Err(Refusal::new("OOM", "command not allowed when used memory > 'maxmemory'."));
    }
    let writes = any(session, spec, |spec| spec.flags.has(Flags::WRITE));
    if closed & Gates::LOST_POWER != 0 && writes {
        return Err(Refusal::new("READONLY", LOST_POWER));
    }
    if closed & Gates::TOO_FEW_REPLICAS != 0 && writes {
        return Err(Refusal::new("NOREPLICAS", "Not enough good replicas to write."));
    }
    if closed & Gates::READ_ONLY != 0 && writes {
        return Err(Refusal::new("READONLY", "You can't write against a read only replica."));
    }
    Ok(())
}

/// Whether the command may run although the data is stale, or not all in place.
#[cold]
fn check_data(closed: u32, session: &Session, spec: &Spec) -> Result<(), Refusal> {
    if closed & Gates::LINK_DOWN != 0 && any(session, spec, |spec| !spec.flags.allows_stale()) {
        return Err(Refusal::new("MASTERDOWN", "Link with MASTER is down and replica-serve-stale-data is set to 'no'."));
    }
    if closed & Gates::LOST_POWER != 0 && any(session, spec, |spec| !spec.flags.allows_stale()) {
        return Err(Refusal::new("MASTERDOWN", LOST_POWER));
    }
    if closed & Gates::LOADING != 0 && any(session, spec, |spec| !spec.flags.has(Flags::LOADING)) {
        return Err(Refusal::new("LOADING", "Redis is loading the dataset in memory"));
    }
    Ok(())
}

/// The refusal of what names no row.
pub(super) fn of_unresolved(what: &Resolved, args: &[&[u8]]) -> Refusal {
    match what {
        Resolved::Bare(container) => wrong_arity(container),
        Resolved::UnknownSubcommand(container) => unknown_subcommand(container, args.get(1).copied().unwrap_or_default()),
        Resolved::Row(..) | Resolved::Unknown => unknown_command(args),
    }
}

/// Whether a request of `len` arguments fits the row's arity.
pub(super) fn arity_fits(arity: i32, len: usize) -> bool {
    if arity < 0 { len >= arity.unsigned_abs() as usize } else { len == arity as usize }
}

fn wrong_arity(name: &str) -> Refusal {
    Refusal::new("ERR", format!("wrong number of arguments for '{name}' command"))
}

fn unknown_subcommand(container: &str, subcommand: &[u8]) -> Refusal {
    let mut text = b"unknown subcommand '".to_vec();
    text.extend_from_slice(quoted(subcommand, QUOTED_AT_MOST));
    text.extend_from_slice(format!("'. Try {} HELP.", container.to_uppercase()).as_bytes());
    Refusal::new("ERR", text)
}

fn unknown_command(args: &[&[u8]]) -> Refusal {
    let mut shown = Vec::new();
    for arg in args.iter().skip(1) {
        if shown.len() >= QUOTED_AT_MOST {
            break;
        }
        let room = QUOTED_AT_MOST - shown.len();
        shown.push(b'\'');
        shown.extend_from_slice(quoted(arg, room));
        shown.extend_from_slice(b"' ");
    }
    let mut text = b"unknown command '".to_vec();
    text.extend_from_slice(quoted(args.first().copied().unwrap_or_default(), QUOTED_AT_MOST));
    text.extend_from_slice(b"', with args beginning with: ");
    text.extend_from_slice(&shown);
    Refusal::new("ERR", text)
}

/// What Redis's `%.*s` prints: up to `limit` bytes, ending at a NUL.
fn quoted(arg: &[u8], limit: usize) -> &[u8] {
    let arg = &arg[..arg.len().min(limit)];
    &arg[..arg.iter().position(|&byte| byte == 0).unwrap_or(arg.len())]
}
