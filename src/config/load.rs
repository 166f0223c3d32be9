//! Reads the command line and the configuration files, as redis-server does.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::directive::{directive, number_of};
use super::split::{quoted, split_args};
use super::{Meaning, Values};

/// Files may include files this deep; more is taken for a loop.
const DEEPEST_INCLUDE: usize = 16;

/// Why a configuration was refused. The text is what the operator sees.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A line of a file, or an option, is wrong.
    #[error("\n*** FATAL CONFIG FILE ERROR (Esker {}) ***\nReading {origin}, at line {line}\n>>> '{text}'\n{reason}", env!("CARGO_PKG_VERSION"))]
    Line {
        /// What was read: `the configuration file '…'` or `the command line`.
        origin: String,
        /// The line's number, from 1 on.
        line: usize,
        /// The line.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read.
    #[error("Fatal error, can't open config file '{}': {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run the server.
    Run(Loaded),
    /// Print this text and leave.
    Print(String),
}

/// A configuration as read, before it is put to use.
#[derive(Debug)]
pub struct Loaded {
    /// All values.
    pub values: Values,
    /// The file given on the command line, absolute.
    pub file: Option<PathBuf>,
    /// Lines for the log: directives that were accepted and mean nothing here.
    pub notes: Vec<String>,
}

/// Reads a command line, without the program's name.
///
/// # Errors
/// The first line that is wrong, or the file that cannot be read.
pub fn from_command_line(args: &[String]) -> Result<Invocation, LoadError> {
    match args {
        [only] if only == "-v" || only == "--version" => return Ok(Invocation::Print(version())),
        [only] if only == "-h" || only == "--help" => return Ok(Invocation::Print(help())),
        _ => {}
    }
    let (file, options) = match args {
        [first, rest @ ..] if !first.starts_with('-') => (Some(first), rest),
        all => (None, all),
    };
    let (options, stdin) = match options {
        [rest @ .., last] if last == "-" => (rest, true),
        all => (all, false),
    };
    let mut loader = Loader { values: Values::defaults(), notes: Vec::new(), depth: 0 };
    let file = file.map(|f| std::path::absolute(f).unwrap_or_else(|_| PathBuf::from(f)));
    if let Some(path) = &file {
        loader.file(path)?;
    }
    if stdin {
        let mut text = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut text);
        read.map_err(|error| LoadError::File { path: PathBuf::from("-"), error })?;
        loader.text("the configuration on standard input", &text)?;
    }
    loader.text("the command line", option_lines(options).as_bytes())?;
    Ok(Invocation::Run(Loaded { values: loader.values, file, notes: loader.notes }))
}

/// The options as the lines of a file. The word after an option's name is its value even if it starts with dashes; only `--save` may
/// stand alone.
fn option_lines(options: &[String]) -> String {
    let mut lines = String::new();
    let mut needs_value = false;
    for (i, word) in options.iter().enumerate() {
        match word.strip_prefix("--") {
            Some(name) if !needs_value => {
                if !lines.is_empty() {
                    lines.push('\n');
                }
                lines.push_str(name);
                needs_value = !name.trim().contains(' ');
                let stands_alone = options.get(i + 1).is_none_or(|next| next.starts_with("--"));
                if name.eq_ignore_ascii_case("save") && stands_alone {
                    lines.push_str(" \"\"");
                    needs_value = false;
                }
            }
            _ => {
                lines.push(' ');
                lines.push_str(&quoted(word.as_bytes()));
                needs_value = false;
            }
        }
    }
    lines
}

struct Loader {
    values: Values,
    notes: Vec<String>,
    depth: usize,
}

impl Loader {
    fn file(&mut self, path: &Path) -> Result<(), LoadError> {
        let text = std::fs::read(path).map_err(|error| LoadError::File { path: path.to_owned(), error })?;
        self.text(&format!("the configuration file '{}'", path.display()), &text)
    }

    fn text(&mut self, source: &str, text: &[u8]) -> Result<(), LoadError> {
        for (i, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let place = Place { source, line: i + 1 };
            self.line(line, &place)?.map_err(|reason| LoadError::Line {
                origin: source.to_owned(),
                line: i + 1,
                text: String::from_utf8_lossy(line).into_owned(),
                reason,
            })?;
        }
        Ok(())
    }

    /// The outer error is of an included file, the inner one of this line.
    fn line(&mut self, line: &[u8], place: &Place<'_>) -> Result<Result<(), String>, LoadError> {
        let Some(words) = split_args(line) else { return Ok(Err("Unbalanced quotes in configuration line".to_owned())) };
        let Ok(words) = words.into_iter().map(String::from_utf8).collect::<Result<Vec<_>, _>>() else {
            return Ok(Err("The line is not valid UTF-8".to_owned()));
        };
        let Some((name, values)) = words.split_first() else { return Ok(Ok(())) };
        if name.eq_ignore_ascii_case("include") && values.len() == 1 {
            return self.include(&values[0]);
        }
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        Ok(self.directive(name, &values, place))
    }

    fn include(&mut self, pattern: &str) -> Result<Result<(), String>, LoadError> {
        if self.depth == DEEPEST_INCLUDE {
            return Ok(Err(format!("more than {DEEPEST_INCLUDE} files include one another")));
        }
        self.depth += 1;
        for path in included(Path::new(pattern)) {
            self.file(&path)?;
        }
        self.depth -= 1;
        Ok(Ok(()))
    }

    fn directive(&mut self, name: &str, words: &[&str], place: &Place<'_>) -> Result<(), String> {
        let number = number_of(name).ok_or("Bad directive or wrong number of arguments")?;
        let row = directive(number);
        if words.is_empty() && !row.kind.takes_words() {
            return Err("wrong number of arguments".to_owned());
        }
        // Several words may be given as one, quoted.
        let split: Vec<&str> = match words {
            [one] if row.kind.takes_words() && one.contains(' ') => one.split_ascii_whitespace().collect(),
            words => words.to_vec(),
        };
        let added: Vec<&str> = match row.name {
            "save" if split != [""] => self.values.get(number).split_ascii_whitespace().chain(split).collect(),
            _ => split,
        };
        let mut changed = self.values.clone();
        changed.set(number, &added)?;
        self.values = changed;
        self.note(row.name, row.meaning, words, place);
        Ok(())
    }

    fn note(&mut self, name: &str, meaning: Meaning, words: &[&str], place: &Place<'_>) {
        let why = match meaning {
            Meaning::Accepted(why) => why,
            Meaning::Used(_) if name == "appendonly" && words.iter().any(|w| w.eq_ignore_ascii_case("no")) => "the log is always on",
            Meaning::Used(_) | Meaning::Hidden => return,
        };
        self.notes.push(format!("{name} has no effect here ({why}): {}, line {}", place.source, place.line));
    }
}

struct Place<'a> {
    source: &'a str,
    line: usize,
}

/// The files that an include names; a pattern in the last part of the path may name several or none.
fn included(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if !name.contains(['*', '?', '[']) {
        return vec![pattern.to_owned()];
    }
    let parent = pattern.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let matches = |file: &std::ffi::OsString| esker_storage::glob::matches(name.as_bytes(), file.as_encoded_bytes(), false);
    let mut files: Vec<_> = entries.flatten().map(|e| e.file_name()).filter(matches).collect();
    files.sort();
    files.into_iter().map(|file| parent.join(file)).collect()
}

/// What `--version` prints.
#[must_use]
pub fn version() -> String {
    format!("Esker server v={} (commands of Redis {})\n", env!("CARGO_PKG_VERSION"), super::REDIS_VERSION)
}

fn help() -> String {
    let mut text = String::from(
        "Usage: esker [/path/to/esker.conf] [--name value ...] [-]\n       esker -  (the configuration comes from standard input)\n       \
         esker --version | --help\n\nAn existing redis.conf works. Examples:\n       esker\n       esker --port 7777 --dir /var/lib/esker\n       \
         esker /etc/esker.conf --loglevel verbose\n\nOptions, with their defaults:\n",
    );
    for row in super::directives() {
        if let Meaning::Used(what) = row.meaning {
            text.push_str(&format!("  --{} {}\n        {what}\n", row.name, if row.default.is_empty() { "\"\"" } else { row.default }));
        }
    }
    text
}

#[cfg(test)]
mod tests;
