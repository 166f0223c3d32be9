//! The options of replication, as those who replicate read them. What is read for each command or write is in [`Hot`](super::Hot).

use std::time::Duration;

use super::Config;
use super::directive::number_of;

impl Config {
    /// Host and port of the primary that this server is to be a replica of.
    #[must_use]
    pub fn replicaof(&self) -> Option<(String, u16)> {
        let text = self.text("replicaof");
        let (host, port) = text.split_once(' ')?;
        Some((host.to_owned(), port.parse().ok()?))
    }

    /// Notes what REPLICAOF has made of the server, for CONFIG GET and CONFIG REWRITE.
    pub fn set_replicaof(&self, primary: Option<(&str, u16)>) {
        let port = primary.map(|(_, port)| port.to_string()).unwrap_or_default();
        let words = primary.map_or_else(Vec::new, |(host, _)| vec![host, port.as_str()]);
        let mut values = self.values.write();
        if let Some(number) = number_of("replicaof")
            && let Err(reason) = values.set(number, &words)
        {
            tracing::error!("replicaof cannot have the value {words:?}: {reason}");
        }
    }

    /// User and password that a replica gives its primary; the user is `None` where the password alone is to be given.
    #[must_use]
    pub fn primary_credentials(&self) -> Option<(Option<String>, String)> {
        let values = self.values.read();
        let set = |name: &str| Some(values.text(name).to_owned()).filter(|text| !text.is_empty());
        Some((set("masteruser"), set("masterauth")?))
    }

    /// Which replica is promoted first: the lowest; 0: never.
    #[must_use]
    pub fn replica_priority(&self) -> u32 {
        self.integer("replica-priority") as u32
    }

    /// Whether INFO tells Sentinel to list this replica.
    #[must_use]
    pub fn replica_announced(&self) -> bool {
        self.text("replica-announced") == "yes"
    }

    /// The address that a replica gives its primary as its own; none: the one that it is seen at.
    #[must_use]
    pub fn replica_announce_ip(&self) -> Option<String> {
        Some(self.text("replica-announce-ip")).filter(|ip| !ip.is_empty())
    }

    /// The port that a replica gives its primary as its own.
    #[must_use]
    pub fn replica_announce_port(&self) -> u16 {
        match self.integer("replica-announce-port") as u16 {
            0 => self.port(),
            port => port,
        }
    }

    /// Without a word for so long, a link is given up.
    #[must_use]
    pub fn repl_timeout(&self) -> Duration {
        self.seconds("repl-timeout")
    }

    /// After so long a primary that has nothing to send says so.
    #[must_use]
    pub fn repl_ping_period(&self) -> Duration {
        self.seconds("repl-ping-replica-period")
    }

    /// Whether the kernel may gather small pieces on links.
    #[must_use]
    pub fn repl_gathers_packets(&self) -> bool {
        self.text("repl-disable-tcp-nodelay") == "yes"
    }

    /// For how long the log that a replica lacks is kept after it has left; none: for ever.
    #[must_use]
    pub fn repl_backlog_ttl(&self) -> Option<Duration> {
        Some(self.seconds("repl-backlog-ttl")).filter(|time| !time.is_zero())
    }

    /// Bytes a second that a primary sends of snapshots; none: no limit.
    #[must_use]
    pub fn repl_bandwidth(&self) -> Option<u64> {
        Some(self.bytes("repl-bandwidth")).filter(|bytes| *bytes > 0)
    }

    fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(u64::try_from(self.integer(name)).unwrap_or(0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
mod tests {
    use super::*;
    use crate::config::{Invocation, ReplicationMode, from_command_line};

    fn given(words: &[&str]) -> Result<Config, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        match from_command_line(&words).map_err(|error| error.to_string())? {
            Invocation::Run(loaded) => Ok(Config::new(loaded.values, loaded.file)),
            Invocation::Print(text) => Err(text),
        }
    }

    #[test]
    fn a_primary_is_a_host_and_a_port() {
        assert_eq!(Config::default().replicaof(), None);
        assert_eq!(given(&["--replicaof", "db.example", "7000"]).unwrap().replicaof(), Some(("db.example".to_owned(), 7000)));
        assert_eq!(given(&["--slaveof", "::1 7000"]).unwrap().replicaof(), Some(("::1".to_owned(), 7000)));
        assert_eq!(given(&["--replicaof", "no", "one"]).unwrap().replicaof(), None);
        assert!(given(&["--replicaof", "host", "70000"]).unwrap_err().contains("Invalid master port"));
        assert!(given(&["--replicaof", "host"]).unwrap_err().contains("wrong number of arguments"));
    }

    #[test]
    fn what_replicaof_does_is_shown_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conf");
        std::fs::write(&path, "replicaof 127.0.0.1 7000\n# end\n").unwrap();
        let config = given(&[path.to_str().unwrap()]).unwrap();
        assert!(config.set(&[("replicaof", "127.0.0.1 7001")]).is_err(), "only REPLICAOF changes it");
        config.set_replicaof(Some(("127.0.0.1", 7002)));
        assert_eq!(config.matching(&[b"slaveof"]), [("slaveof", "127.0.0.1 7002".to_owned())]);
        config.rewrite().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "replicaof 127.0.0.1 7002\n# end\n");
        config.set_replicaof(None);
        config.rewrite().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# end\n");
    }

    #[test]
    fn what_is_not_set_is_none() {
        let config = Config::default();
        assert_eq!((config.primary_credentials(), config.replica_announce_ip(), config.repl_bandwidth()), (None, None, None));
        assert_eq!((config.replica_announce_port(), config.repl_backlog_ttl()), (config.port(), Some(Duration::from_secs(3600))));
        config.set(&[("masteruser", "u")]).unwrap();
        assert_eq!(config.primary_credentials(), None, "a user without a password is not given");
        config.set(&[("masterauth", "p"), ("repl-backlog-ttl", "0"), ("repl-bandwidth", "1mb")]).unwrap();
        assert_eq!(config.primary_credentials(), Some((Some("u".to_owned()), "p".to_owned())));
        assert_eq!((config.repl_backlog_ttl(), config.repl_bandwidth()), (None, Some(1 << 20)));
    }

    #[test]
    fn modes_and_counts_are_hot() {
        let config = Config::default();
        let hot = config.hot();
        assert_eq!((hot.replication_mode(), hot.replicas_to_write()), (ReplicationMode::Async, None));
        assert_eq!((hot.min_replicas_to_ack(), hot.ack_timeout(), hot.min_in_sync()), (1, Duration::from_secs(1), 2));
        config.set(&[("replication-mode", "semi-sync"), ("min-replicas-to-write", "2"), ("replica-read-only", "no")]).unwrap();
        assert_eq!((hot.replication_mode().name(), hot.replicas_to_write(), hot.replica_read_only()), ("semi-sync", Some((2, 10)), false));
        config.set(&[("min-slaves-max-lag", "0")]).unwrap();
        assert_eq!(hot.replicas_to_write(), None);
    }
}
