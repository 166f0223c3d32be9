//! Inline commands: a line of words, quoted as in a shell.

use super::request::Span;

/// A reader of one line; a NUL ends it, as it ends a C string.
struct Line<'a> {
    rest: &'a [u8],
}

impl Line<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied().filter(|byte| *byte != 0)
    }

    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.skip(1);
        Some(byte)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Splits the line into words, unquoted into `unquoted`. None: quotes are not balanced, or something follows a closing quote at once.
pub(super) fn split_arguments(line: &[u8], unquoted: &mut Vec<u8>, spans: &mut Vec<Span>) -> Option<()> {
    let mut line = Line { rest: line };
    loop {
        while line.peek().is_some_and(is_space) {
            line.skip(1);
        }
        if line.peek().is_none() {
            return Some(());
        }
        let start = unquoted.len();
        word(&mut line, unquoted)?;
        spans.push(Span { start, end: unquoted.len() });
    }
}

fn word(line: &mut Line<'_>, out: &mut Vec<u8>) -> Option<()> {
    loop {
        match line.peek() {
            None | Some(b' ' | b'\n' | b'\r' | b'\t') => return Some(()),
            Some(b'"') => {
                line.skip(1);
                double_quoted(line, out)?;
                return ends_here(line);
            }
            Some(b'\'') => {
                line.skip(1);
                single_quoted(line, out)?;
                return ends_here(line);
            }
            Some(byte) => {
                out.push(byte);
                line.skip(1);
            }
        }
    }
}

/// After a closing quote comes a space or the end.
fn ends_here(line: &Line<'_>) -> Option<()> {
    line.peek().is_none_or(is_space).then_some(())
}

fn double_quoted(line: &mut Line<'_>, out: &mut Vec<u8>) -> Option<()> {
    loop {
        match line.next()? {
            b'"' => return Some(()),
            b'\\' => {
                if let [b'x', high, low, ..] = *line.rest
                    && let (Some(high), Some(low)) = (char::from(high).to_digit(16), char::from(low).to_digit(16))
                {
                    out.push((high * 16 + low) as u8);
                    line.skip(3);
                    continue;
                }
                // A backslash before the end stands for itself; the missing quote is found next.
                out.push(match line.next() {
                    None => b'\\',
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(b'b') => 0x08,
                    Some(b'a') => 0x07,
                    Some(other) => other,
                });
            }
            byte => out.push(byte),
        }
    }
}

fn single_quoted(line: &mut Line<'_>, out: &mut Vec<u8>) -> Option<()> {
    loop {
        match line.next()? {
            b'\'' => return Some(()),
            b'\\' if line.peek() == Some(b'\'') => {
                out.push(b'\'');
                line.skip(1);
            }
            byte => out.push(byte),
        }
    }
}
