//! CLIENT: what connections are called, who is connected, ending and pausing them.

use esker_storage::types::UnixMillis;

use super::client_list::{self, Kind};
use super::{Call, CommandError, Effect, Flags, Group, Keys, Spec, parse_integer};
use crate::net::Pause;
use crate::session::ReplyMode;

/// A row that the others of the family differ from.
const ROW: Spec = Spec {
    name: "client|id",
    arity: 2,
    flags: Flags::LOADING,
    keys: Keys::None,
    group: Group::Connection,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Returns the connection's id.",
    handler: id,
};

const ADMIN: Flags = Flags::ADMIN.and(Flags::LOADING);

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec { name: "client|info", since: "6.2.0", summary: "Describes the connection.", handler: info, ..ROW },
    Spec {
        name: "client|list",
        arity: -2,
        flags: ADMIN,
        since: "2.4.0",
        complexity: "O(N), N connections",
        summary: "Describes all connections, or those of a type or with given ids.",
        handler: list,
        ..ROW
    },
    Spec {
        name: "client|kill",
        arity: -3,
        flags: ADMIN,
        since: "2.4.0",
        complexity: "O(N), N connections",
        summary: "Ends connections: one by address, or all that pass the filters.",
        handler: kill,
        ..ROW
    },
    Spec { name: "client|getname", since: "2.6.9", summary: "Returns the connection's name.", handler: getname, ..ROW },
    Spec { name: "client|setname", arity: 3, since: "2.6.9", summary: "Names the connection.", handler: setname, ..ROW },
    Spec {
        name: "client|setinfo",
        arity: 4,
        since: "7.2.0",
        summary: "Tells the client library's name or version.",
        handler: setinfo,
        ..ROW
    },
    Spec {
        name: "client|pause",
        arity: -3,
        flags: ADMIN,
        since: "3.0.0",
        summary: "Holds commands of all clients back, or only those that write, for some milliseconds.",
        handler: pause,
        ..ROW
    },
    Spec { name: "client|unpause", flags: ADMIN, since: "6.2.0", summary: "Ends a pause.", handler: unpause, ..ROW },
    Spec { name: "client|reply", arity: 3, since: "3.2.0", summary: "Chooses which replies the connection gets.", handler: reply, ..ROW },
    Spec {
        name: "client|no-evict",
        arity: 3,
        flags: ADMIN,
        since: "7.0.0",
        summary: "Marks the connection as not to be ended for memory's sake.",
        handler: no_evict,
        ..ROW
    },
    Spec {
        name: "client|no-touch",
        arity: 3,
        since: "7.2.0",
        summary: "Marks the connection as one whose reads do not count as accesses.",
        handler: no_touch,
        ..ROW
    },
];

fn id(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.reply.integer(call.session.id as i64);
    Ok(())
}

fn info(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    show_self(call);
    let mut text = String::new();
    client_list::describe(&call.session.client, call.txn.now(), &mut text);
    call.reply.verbatim(&text);
    Ok(())
}

/// The connection itself is described as it is now, not as it was after its last batch.
fn show_self(call: &Call<'_, '_>) {
    let mut shown = call.session.client.shown();
    call.session.publish(&mut shown);
    shown.version = call.reply.version();
    shown.last_interaction = call.txn.now();
    shown.arguments = call.args.iter().skip(1).map(|arg| arg.len()).sum();
}

fn list(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    show_self(call);
    let (mut kind, mut ids) = (None, None);
    match call.args.get(2..).unwrap_or_default() {
        [] => {}
        [option, name] if option.eq_ignore_ascii_case(b"type") => kind = Some(Kind::parse(name)?),
        [option, list @ ..] if option.eq_ignore_ascii_case(b"id") && !list.is_empty() => {
            let number = |text: &&[u8]| parse_integer(text).ok_or(CommandError::Text("ERR Invalid client ID"));
            ids = Some(list.iter().map(number).collect::<Result<Vec<_>, _>>()?);
        }
        _ => return Err(CommandError::Syntax),
    }
    let clients = match ids {
        // As they were asked for, one asked for twice twice.
        Some(ids) => ids.into_iter().filter_map(|id| call.server.clients.get(u64::try_from(id).ok()?)).collect(),
        None => call.server.clients.all(),
    };
    let mut text = String::new();
    for client in clients.iter().filter(|client| kind.is_none_or(|kind| kind.includes(client))) {
        client_list::describe(client, call.txn.now(), &mut text);
    }
    call.reply.verbatim(&text);
    Ok(())
}

fn kill(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let own = call.session.id;
    let filter = match call.args.get(2..).unwrap_or_default() {
        [address] => client_list::Filter::of_address(address),
        options => client_list::Filter::parse(options)?,
    };
    let mut killed = 0;
    for client in call.server.clients.all() {
        if !filter.includes(&client) || (filter.skips_self && client.id == own) {
            continue;
        }
        killed += 1;
        if client.id == own {
            call.effects.push(Effect::Close);
        } else {
            client.kill();
        }
        if filter.by_address_only {
            break;
        }
    }
    match (filter.by_address_only, killed) {
        (true, 0) => return Err(CommandError::Text("ERR No such client")),
        (true, _) => call.reply.ok(),
        (false, count) => call.reply.integer(count),
    }
    Ok(())
}

fn getname(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let shown = call.session.client.shown();
    if shown.name.is_empty() {
        call.reply.null()
    } else {
        call.reply.bulk(&shown.name)
    }
    Ok(())
}

fn setname(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    set_name(call, call.arg(2))?;
    call.reply.ok();
    Ok(())
}

/// Names the connection; an empty name takes it away.
pub(super) fn set_name(call: &mut Call<'_, '_>, name: &[u8]) -> Result<(), CommandError> {
    check_text(name, "Client names cannot contain spaces, newlines or special characters.")?;
    call.session.client.shown().name = name.to_vec();
    Ok(())
}

/// Refuses what would make CLIENT LIST unreadable.
pub(super) fn check_text(text: &[u8], refusal: &str) -> Result<(), CommandError> {
    if text.iter().all(|byte| (b'!'..=b'~').contains(byte)) { Ok(()) } else { Err(CommandError::Owned(format!("ERR {refusal}"))) }
}

fn setinfo(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (option, value) = (call.arg(2), call.arg(3));
    let shown = |name: &str| format!("{name} cannot contain spaces, newlines or special characters.");
    if option.eq_ignore_ascii_case(b"lib-name") {
        check_text(value, &shown("lib-name"))?;
        call.session.client.shown().library_name = value.to_vec();
    } else if option.eq_ignore_ascii_case(b"lib-ver") {
        check_text(value, &shown("lib-ver"))?;
        call.session.client.shown().library_version = value.to_vec();
    } else {
        return Err(CommandError::Owned(format!("ERR Unrecognized option '{}'", String::from_utf8_lossy(option))));
    }
    call.reply.ok();
    Ok(())
}

fn pause(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let what = match call.args.get(3..).unwrap_or_default() {
        [] => Pause::All,
        [mode] if mode.eq_ignore_ascii_case(b"all") => Pause::All,
        [mode] if mode.eq_ignore_ascii_case(b"write") => Pause::Writes,
        [_] => return Err(CommandError::Text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(CommandError::Text("ERR unknown subcommand or wrong number of arguments for 'pause'. Try CLIENT HELP.")),
    };
    let timeout = parse_integer(call.arg(2)).ok_or(CommandError::Text("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(CommandError::Text("ERR timeout is negative"));
    }
    let now = call.txn.now();
    call.server.clients.pause(what, UnixMillis(now.0.saturating_add(timeout)), now);
    call.reply.ok();
    Ok(())
}

fn unpause(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.server.clients.resume();
    call.reply.ok();
    Ok(())
}

fn reply(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let mode = call.arg(2);
    if mode.eq_ignore_ascii_case(b"on") {
        call.session.reply_mode = ReplyMode::On;
        call.reply.ok();
    } else if mode.eq_ignore_ascii_case(b"off") {
        call.session.reply_mode = ReplyMode::Off;
    } else if mode.eq_ignore_ascii_case(b"skip") {
        if call.session.reply_mode != ReplyMode::Off {
            call.session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

fn no_evict(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.session.client.shown().no_evict = on_or_off(call.arg(2))?;
    call.reply.ok();
    Ok(())
}

fn no_touch(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.session.client.shown().no_touch = on_or_off(call.arg(2))?;
    call.reply.ok();
    Ok(())
}

fn on_or_off(text: &[u8]) -> Result<bool, CommandError> {
    match text {
        text if text.eq_ignore_ascii_case(b"on") => Ok(true),
        text if text.eq_ignore_ascii_case(b"off") => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}
