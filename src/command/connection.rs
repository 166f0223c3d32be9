//! The connection itself: passwords, protocol version, database, PING.

use esker_storage::types::Db;

use super::client::set_name;
use super::{Call, CommandError, Effect, Flags, Group, Keys, Spec, parse_integer};
use crate::config::REDIS_VERSION;
use crate::protocol::Version;
use crate::session::ReplyMode;

/// A row that the others of the family differ from.
const ROW: Spec = Spec {
    name: "ping",
    arity: -1,
    flags: Flags::FAST.and(Flags::WHILE_SUBSCRIBED),
    keys: Keys::None,
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Answers PONG, or the message.",
    handler: ping,
};

/// Allowed at any time.
const ALWAYS: Flags = Flags::FAST.and(Flags::LOADING).and(Flags::NO_AUTH);

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec { name: "echo", arity: 2, flags: Flags::FAST.and(Flags::LOADING), summary: "Returns the message.", handler: echo, ..ROW },
    Spec {
        name: "select",
        arity: 2,
        flags: Flags::FAST.and(Flags::LOADING),
        summary: "Selects the connection's database.",
        handler: select,
        ..ROW
    },
    Spec {
        name: "auth",
        arity: -2,
        flags: ALWAYS.and(Flags::SKIP_MONITOR),
        summary: "Authenticates the connection with a password; the only user is `default`.",
        handler: auth,
        ..ROW
    },
    Spec {
        name: "hello",
        arity: -1,
        flags: ALWAYS.and(Flags::SKIP_MONITOR),
        since: "6.0.0",
        summary: "Chooses the protocol version, and authenticates and names the connection.",
        handler: hello,
        ..ROW
    },
    Spec {
        name: "quit",
        flags: ALWAYS.and(Flags::WHILE_SUBSCRIBED).and(Flags::NOT_QUEUED),
        summary: "Closes the connection.",
        handler: quit,
        ..ROW
    },
    Spec {
        name: "reset",
        arity: 1,
        flags: ALWAYS.and(Flags::WHILE_SUBSCRIBED).and(Flags::NOT_QUEUED),
        since: "6.2.0",
        summary: "Makes the connection as it was when it was new.",
        handler: reset,
        ..ROW
    },
];

fn ping(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    if call.args.len() > 2 {
        return Err(CommandError::Arity("ping".to_owned()));
    }
    let message = call.args.get(1).copied();
    if call.reply.version() == Version::Resp2 && !call.session.subscriptions.is_empty() {
        call.reply.array(2);
        call.reply.bulk(b"pong");
        call.reply.bulk(message.unwrap_or_default());
    } else {
        match message {
            Some(message) => call.reply.bulk(message),
            None => call.reply.simple("PONG"),
        }
    }
    Ok(())
}

fn echo(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.reply.bulk(call.arg(1));
    Ok(())
}

fn select(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    const RANGE: &str = "ERR value is out of range, value must between -2147483648 and 2147483647";
    let number = call.integer(1)?;
    if i32::try_from(number).is_err() {
        return Err(CommandError::Text(RANGE));
    }
    let databases = i64::from(call.server.config.databases());
    let number = u8::try_from(number).ok().filter(|number| i64::from(*number) < databases);
    call.session.db = Db(number.ok_or(CommandError::Text("ERR DB index is out of range"))?);
    call.reply.ok();
    Ok(())
}

fn auth(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    match *call.args {
        [_, password] => {
            if !call.server.config.hot().has_password() {
                return Err(CommandError::Text(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is \
                     correct?",
                ));
            }
            authenticate(call, b"default", password)?;
        }
        [_, user, password] => authenticate(call, user, password)?,
        _ => return Err(CommandError::Syntax),
    }
    call.reply.ok();
    Ok(())
}

/// Checks a password. Without one configured, the default user takes any.
fn authenticate(call: &mut Call<'_, '_>, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let right = match call.server.config.password() {
        Some(expected) => same(&expected, password),
        None => true,
    };
    if user != b"default" || !right {
        return Err(CommandError::Text("WRONGPASS invalid username-password pair or user is disabled."));
    }
    call.session.authenticated = true;
    Ok(())
}

/// Compares in a time that tells nothing of where the first difference is.
fn same(expected: &[u8], given: &[u8]) -> bool {
    let difference = expected.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b));
    expected.len() == given.len() && difference == 0
}

fn hello(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let version = match call.args.get(1) {
        None => None,
        Some(text) => match parse_integer(text) {
            Some(2) => Some(Version::Resp2),
            Some(3) => Some(Version::Resp3),
            Some(_) => return Err(CommandError::Text("NOPROTO unsupported protocol version")),
            None => return Err(CommandError::Text("ERR Protocol version is not an integer or out of range")),
        },
    };
    let options = HelloOptions::parse(call.args.get(2..).unwrap_or_default())?;
    if let Some((user, password)) = options.credentials {
        authenticate(call, user, password)?;
    }
    if !call.session.authenticated {
        return Err(CommandError::Text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used \
             to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = options.name {
        set_name(call, name)?;
    }
    if let Some(version) = version {
        speak(call, version);
    }
    describe(call);
    Ok(())
}

#[derive(Default)]
struct HelloOptions<'a> {
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> HelloOptions<'a> {
    fn parse(mut args: &[&'a [u8]]) -> Result<Self, CommandError> {
        let mut options = Self::default();
        loop {
            args = match *args {
                [] => return Ok(options),
                [option, user, password, ref rest @ ..] if option.eq_ignore_ascii_case(b"auth") => {
                    options.credentials = Some((user, password));
                    rest
                }
                [option, name, ref rest @ ..] if option.eq_ignore_ascii_case(b"setname") => {
                    super::client::check_text(name, "Client names cannot contain spaces, newlines or special characters.")?;
                    options.name = Some(name);
                    rest
                }
                [option, ..] => {
                    return Err(CommandError::Owned(format!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(option))));
                }
            };
        }
    }
}

fn speak(call: &mut Call<'_, '_>, version: Version) {
    call.reply.set_version(version);
    call.session.client.set_version(version);
}

fn describe(call: &mut Call<'_, '_>) {
    let protocol = if call.reply.version() == Version::Resp3 { 3 } else { 2 };
    let role = if call.server.replication().link().is_some() { "replica" } else { "master" };
    let reply = &mut *call.reply;
    reply.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(protocol);
    reply.bulk(b"id");
    reply.integer(call.session.id as i64);
    for (name, value) in [("mode", "standalone"), ("role", role)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}

fn quit(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.effects.push(Effect::Close);
    call.reply.ok();
    Ok(())
}

fn reset(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (server, session) = (call.server, &mut *call.session);
    session.db = Db(0);
    session.queue.close();
    session.reply_mode = ReplyMode::On;
    session.authenticated = !server.config.hot().has_password();
    server.hub.leave(&mut session.subscriptions, session.id);
    server.monitors.leave(session.id, &server.gates);
    let mut shown = session.client.shown();
    shown.name.clear();
    shown.monitor = false;
    drop(shown);
    speak(call, Version::Resp2);
    call.reply.simple("RESET");
    Ok(())
}
