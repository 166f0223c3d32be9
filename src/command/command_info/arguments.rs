//! Reads the notation of [`super::grammar`] and writes it as COMMAND DOCS does.

use crate::protocol::Reply;

/// One argument, or several that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Argument {
    name: String,
    kind: &'static str,
    key_specification: Option<i64>,
    token: Option<String>,
    optional: bool,
    multiple: bool,
    multiple_token: bool,
    parts: Vec<Argument>,
}

/// Reads the notation.
pub(super) fn parse(text: &str) -> Vec<Argument> {
    split(text, ' ').into_iter().map(argument).collect()
}

/// The parts between separators that stand in no bracket.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' => depth -= 1,
            _ if letter == separator && depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    if from < text.len() {
        parts.push(&text[from..]);
    }
    parts
}

fn argument(text: &str) -> Argument {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Argument { optional: true, ..argument(inner) };
    }
    if let Some(inner) = text.strip_suffix('+') {
        return Argument { multiple_token: true, ..argument(inner) };
    }
    if let Some(inner) = text.strip_suffix("...") {
        return Argument { multiple: true, ..argument(inner) };
    }
    match text.split_once(':') {
        Some((token, rest)) if is_token(token) => Argument { token: Some(token.to_owned()), ..value(rest) },
        _ => value(text),
    }
}

fn is_token(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
}

fn value(text: &str) -> Argument {
    for (open, close, kind, separator) in [('{', '}', "oneof", '|'), ('(', ')', "block", ' ')] {
        let parts = text.split_once(open).and_then(|(name, rest)| Some((name, rest.strip_suffix(close)?)));
        // The bracket that closes last opened first: of `a{b(c)}` the name is `a`.
        if let Some((name, inner)) = parts.filter(|(name, _)| !name.contains(['{', '('])) {
            return Argument {
                name: name.to_owned(),
                kind,
                parts: split(inner, separator).into_iter().map(argument).collect(),
                ..Argument::default()
            };
        }
    }
    if let Some((name, number)) = text.split_once('@') {
        return Argument { name: name.to_owned(), kind: "key", key_specification: number.parse().ok(), ..Argument::default() };
    }
    if is_token(text) {
        return Argument { name: text.to_ascii_lowercase(), kind: "pure-token", token: Some(text.to_owned()), ..Argument::default() };
    }
    let signs = [('#', "integer"), ('~', "double"), ('*', "pattern"), ('^', "unix-time")];
    let signed = signs.iter().find_map(|(sign, kind)| Some((text.strip_suffix(*sign)?, *kind)));
    let (name, kind) = signed.unwrap_or((text, "string"));
    Argument { name: name.to_owned(), kind, ..Argument::default() }
}

/// Writes arguments as an array of maps.
pub(super) fn write(arguments: &[Argument], reply: &mut Reply) {
    reply.array(arguments.len());
    for argument in arguments {
        argument.write(reply);
    }
}

impl Argument {
    fn flags(&self) -> Vec<&'static str> {
        let flags = [("optional", self.optional), ("multiple", self.multiple), ("multiple_token", self.multiple_token)];
        flags.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect()
    }

    fn write(&self, reply: &mut Reply) {
        let flags = self.flags();
        let given = [self.key_specification.is_some(), self.token.is_some(), !flags.is_empty(), !self.parts.is_empty()];
        reply.map(2 + given.iter().filter(|given| **given).count());
        reply.bulk(b"name");
        reply.bulk(self.name.as_bytes());
        reply.bulk(b"type");
        reply.bulk(self.kind.as_bytes());
        if let Some(number) = self.key_specification {
            reply.bulk(b"key_spec_index");
            reply.integer(number);
        }
        if let Some(token) = &self.token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            super::entry::names(&flags, "", reply);
        }
        if !self.parts.is_empty() {
            reply.bulk(b"arguments");
            write(&self.parts, reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::grammar::GRAMMAR;
    use super::*;
    use crate::command::lookup;

    fn text(name: &str, kind: &'static str) -> Argument {
        Argument { name: name.to_owned(), kind, ..Argument::default() }
    }

    #[test]
    fn the_notation_is_read() {
        let get = Argument { token: Some("GET".to_owned()), optional: true, ..text("get", "pure-token") };
        assert_eq!(parse("key@0... [GET]"), [Argument { multiple: true, key_specification: Some(0), ..text("key", "key") }, get]);
        let nested = parse("a{X:b#|c(d~ e*)...+}");
        let together =
            Argument { multiple: true, multiple_token: true, parts: vec![text("d", "double"), text("e", "pattern")], ..text("c", "block") };
        let choice = vec![Argument { token: Some("X".to_owned()), ..text("b", "integer") }, together];
        assert_eq!(nested, [Argument { parts: choice, ..text("a", "oneof") }]);
        assert_eq!(parse("ip:port t^"), [text("ip:port", "string"), text("t", "unix-time")]);
        assert!(parse("").is_empty());
    }

    #[test]
    fn every_line_is_of_a_command_and_leaves_no_sign_in_a_name() {
        fn check(argument: &Argument) {
            assert!(
                !argument.name.is_empty() && !argument.name.contains(['[', ']', '(', ')', '{', '}', '|', '@', '#', '+']),
                "{argument:?}"
            );
            argument.parts.iter().for_each(check);
        }
        for (name, text) in GRAMMAR {
            assert!(lookup(name).is_some(), "{name}");
            parse(text).iter().for_each(check);
        }
    }
}
