//! The server that the entries are applied to.

use std::time::Duration;

use esker_storage::types::{Db, HistoryId, Lsn, UnixMillis};

use super::super::LogError;
use super::super::args::Reapply;
use crate::client::{Client, Value};

/// How long the server may take for an answer: questions about the past may take it a minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a key is at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Present {
    /// Bytes of the value; none: there is no such key.
    pub(super) len: Option<u64>,
    pub(super) expire_at: Option<UnixMillis>,
}

/// What happened to a key at the server since the last common LSN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Since {
    Nothing,
    /// It was written, or its database was emptied or swapped.
    Written(Lsn),
    /// It cannot be told.
    Unknown(String),
}

/// The server.
pub(super) struct Target {
    client: Client,
    common: Lsn,
    /// Whether its log goes on from the last common LSN.
    related: bool,
    selected: Option<Db>,
    /// Whether DEBUG OBJECT may be asked.
    debug: bool,
}

impl Target {
    /// Connects, and sees whether it is a server to write to.
    pub(super) fn connect(options: &Reapply, history: HistoryId, common: Lsn) -> Result<Self, LogError> {
        let mut client = Client::connect(&options.to, options.user.as_deref(), options.password.as_deref(), PATIENCE)?;
        let answer = client.ask(&["INFO", "replication"])?;
        let info = answer.text().ok_or_else(|| client.unexpected(&answer))?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        if field("role") == Some("slave") {
            let primary = format!("{}:{}", field("master_host").unwrap_or("?"), field("master_port").unwrap_or("?"));
            return Err(LogError::Reapply(format!("{} is a replica: name its primary, {primary}", options.to)));
        }
        let reached = field("master_repl_offset").and_then(|lsn| lsn.parse().ok()).map(Lsn);
        let related = field("master_replid").is_some_and(|id| id.starts_with(&history.to_string()))
            && reached.is_some_and(|reached| reached >= common);
        Ok(Self { client, common, related, selected: None, debug: true })
    }

    /// Whether its log goes on from the last common LSN, so that it can tell what was written since.
    pub(super) fn is_related(&self) -> bool {
        self.related
    }

    /// Watches keys, so that nothing is written after somebody else wrote to one, and tells what they are.
    pub(super) fn watch(&mut self, db: Db, keys: &[&[u8]]) -> Result<Vec<Present>, LogError> {
        if self.selected != Some(db) {
            self.client.ask(&["SELECT", &db.to_string()])?;
            self.selected = Some(db);
        }
        self.client.ask(&[&[&b"WATCH"[..]], keys].concat())?;
        for key in keys {
            self.client.send(&[b"STRLEN", *key])?;
            self.client.send(&[b"PEXPIRETIME", *key])?;
        }
        let pairs: Vec<_> = keys.iter().map(|_| Ok((self.client.receive()?, self.client.receive()?))).collect::<Result<_, LogError>>()?;
        let present = |(len, at): (Value, Value)| match (&len, &at) {
            (Value::Integer(len), Value::Integer(at)) => {
                Ok(Present { len: (*at != -2).then_some(*len as u64), expire_at: (*at >= 0).then_some(UnixMillis(*at)) })
            }
            _ => Err(self.refused([len, at])),
        };
        pairs.into_iter().map(present).collect()
    }

    /// Lets go of them.
    pub(super) fn unwatch(&mut self) -> Result<(), LogError> {
        self.client.ask(&["UNWATCH"])?;
        Ok(())
    }

    /// The value of a key.
    pub(super) fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        match self.client.ask(&[b"GET", key])? {
            Value::Text(value) => Ok(Some(value)),
            Value::Null => Ok(None),
            other => Err(self.client.unexpected(&other).into()),
        }
    }

    /// What a key held at the last common LSN; none if there was no such key, or if that cannot be told any more.
    pub(super) fn get_at_common(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        if !self.related {
            return Ok(None);
        }
        self.client.send(&[b"ESKER.GETAT", key, self.common.to_string().as_bytes()])?;
        Ok(match self.client.receive()? {
            Value::Text(value) => Some(value),
            _ => None,
        })
    }

    /// What happened to keys since the last common LSN.
    pub(super) fn since(&mut self, keys: &[&[u8]]) -> Result<Vec<Since>, LogError> {
        if !self.related {
            return Ok(vec![Since::Unknown("the server's log is another".to_owned()); keys.len()]);
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let common = self.common.to_string();
        let answer = self.client.ask(&[&[b"ESKER.CHANGED", common.as_bytes()], keys].concat())?;
        let Value::Array(changed) = &answer else { return Err(self.client.unexpected(&answer).into()) };
        let since = |(key, changed): (&&[u8], &Value)| match changed {
            Value::Integer(0) => Ok(Since::Nothing),
            Value::Integer(lsn) => Ok(Since::Written(Lsn(*lsn as u64))),
            _ => self.since_cleaned(key),
        };
        keys.iter().zip(changed).map(since).collect()
    }

    /// The same of a key without a record above that LSN, where cleaning has dropped some.
    fn since_cleaned(&mut self, key: &[u8]) -> Result<Since, LogError> {
        let newest = match self.lsn(key)? {
            Some(lsn) => Some(lsn),
            None => self.newest(key)?,
        };
        Ok(match newest {
            Some(lsn) if lsn > self.common => Since::Written(lsn),
            // A removal is not dropped from the log before what it removes.
            Some(_) => Since::Nothing,
            None => Since::Unknown("it is not there, and may have been removed since: the log does not tell any more".to_owned()),
        })
    }

    /// The LSN of a key's record, if there is such a key and the server tells.
    fn lsn(&mut self, key: &[u8]) -> Result<Option<Lsn>, LogError> {
        if !self.debug {
            return Ok(None);
        }
        self.client.send(&[&b"DEBUG"[..], b"OBJECT", key])?;
        let answer = self.client.receive()?;
        if let Value::Error(reply) = &answer {
            self.debug = reply.starts_with("ERR no such key");
            return Ok(None);
        }
        let text = answer.text().unwrap_or_default();
        Ok(text.split(' ').find_map(|word| word.strip_prefix("lsn:")?.parse().ok()).map(Lsn))
    }

    /// The LSN of the newest that the log knows of a key or its database.
    fn newest(&mut self, key: &[u8]) -> Result<Option<Lsn>, LogError> {
        let answer = self.client.ask(&[&b"ESKER.HISTORY"[..], key, b"COUNT", b"1"])?;
        let Value::Array(versions) = &answer else { return Err(self.client.unexpected(&answer).into()) };
        match versions.first() {
            None => Ok(None),
            Some(Value::Array(version)) => match version.first() {
                Some(Value::Integer(lsn)) => Ok(Some(Lsn(*lsn as u64))),
                _ => Err(self.client.unexpected(&answer).into()),
            },
            Some(_) => Err(self.client.unexpected(&answer).into()),
        }
    }

    /// Runs requests as one transaction, unless a key that is watched was written to meanwhile; whether it was done.
    pub(super) fn write(&mut self, requests: &[Vec<&[u8]>]) -> Result<bool, LogError> {
        self.client.send(&["MULTI"])?;
        for request in requests {
            self.client.send(request)?;
        }
        self.client.send(&["EXEC"])?;
        let mut replies = Vec::new();
        for _ in 0..requests.len() + 1 {
            replies.push(self.client.receive()?);
        }
        match self.client.receive()? {
            Value::Null => Ok(false),
            Value::Array(done) if !done.iter().any(|reply| matches!(reply, Value::Error(_))) => Ok(true),
            Value::Array(done) => Err(self.refused(done)),
            other => Err(self.refused(replies.into_iter().chain([other]))),
        }
    }

    /// The error for the first of the replies that is one.
    fn refused(&self, replies: impl IntoIterator<Item = Value>) -> LogError {
        let error = replies.into_iter().find_map(|reply| if let Value::Error(text) = reply { Some(text) } else { None });
        let text = error.unwrap_or_else(|| "it answers what was not expected".to_owned());
        LogError::Reapply(format!("{}: {text}", self.client.address()))
    }
}
