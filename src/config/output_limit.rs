//! Limits of unread replies, per class of clients.

use std::fmt;

use super::kind::parse_memory;

/// The classes of clients that have their own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientClass {
    /// Everybody else.
    Normal = 0,
    /// Replicas.
    Replica = 1,
    /// Subscribers.
    PubSub = 2,
}

/// The limits of one class; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    /// Bytes that close the client at once.
    pub hard: u64,
    /// Bytes that close the client when they persist.
    pub soft: u64,
    /// For how many seconds.
    pub soft_seconds: u64,
}

/// The limits of all classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimits([OutputLimit; 3]);

impl OutputLimits {
    /// The limits in their canonical text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut limits = Self::default();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        limits.change(&words).ok().map(|()| limits)
    }

    /// The limits of a class.
    #[must_use]
    pub fn of(&self, class: ClientClass) -> OutputLimit {
        self.0[class as usize]
    }

    /// Changes the classes that the words name: `<class> <hard> <soft> <seconds>`, any number of times.
    ///
    /// # Errors
    /// The reason of the refusal, in Redis's words; nothing is changed then.
    pub fn change(&mut self, words: &[&str]) -> Result<(), String> {
        if !words.len().is_multiple_of(4) || words.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
        }
        let mut changed = *self;
        for group in words.chunks(4) {
            let class = class_named(group[0]).ok_or("Invalid client class specified in buffer limit configuration.")?;
            let limit =
                || Some(OutputLimit { hard: parse_memory(group[1])?, soft: parse_memory(group[2])?, soft_seconds: group[3].parse().ok()? });
            changed.0[class as usize] = limit().ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
        }
        *self = changed;
        Ok(())
    }
}

fn class_named(name: &str) -> Option<ClientClass> {
    match name.to_ascii_lowercase().as_str() {
        "normal" => Some(ClientClass::Normal),
        "replica" | "slave" => Some(ClientClass::Replica),
        "pubsub" => Some(ClientClass::PubSub),
        _ => None,
    }
}

impl fmt::Display for OutputLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // CONFIG GET's readers know the second class by its former name only.
        for (i, (name, limit)) in ["normal", "slave", "pubsub"].iter().zip(self.0).enumerate() {
            let space = if i > 0 { " " } else { "" };
            write!(f, "{space}{name} {} {} {}", limit.hard, limit.soft, limit.soft_seconds)?;
        }
        Ok(())
    }
}
