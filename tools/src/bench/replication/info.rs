//! What INFO says of replication.

/// The value of a field of INFO.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// A field that is a number; 0 if there is none.
pub(super) fn number(info: &str, name: &str) -> i64 {
    field(info, name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// How far a replica is, as its primary knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) online: bool,
    pub(super) applied: i64,
    pub(super) lag_entries: i64,
    pub(super) lag_bytes: i64,
    pub(super) lag_ms: i64,
}

/// The replicas that a primary has.
pub(super) fn replicas(info: &str) -> Vec<Progress> {
    let of = |line: &str, name: &str| -> Option<i64> { part(line, name)?.parse().ok() };
    (0..)
        .map_while(|number| {
            let line = field(info, &format!("replica{number}"))?;
            Some(Progress {
                online: field(info, &format!("slave{number}")).and_then(|line| part(line, "state")) == Some("online"),
                applied: of(line, "lsn_applied")?,
                lag_entries: of(line, "lag_entries")?,
                lag_bytes: of(line, "lag_bytes")?,
                lag_ms: of(line, "lag_ms")?,
            })
        })
        .collect()
}

fn part<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// Whether a primary has so many replicas, and each has applied all that is written.
pub(super) fn all_have_all(info: &str, wanted: usize) -> bool {
    let (written, replicas) = (number(info, "master_repl_offset"), replicas(info));
    replicas.len() == wanted && replicas.iter().all(|replica| replica.online && replica.applied >= written)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
        slave0:ip=127.0.0.1,port=7002,state=online,offset=90,lag=0\r\n\
        slave1:ip=127.0.0.1,port=7003,state=send_bulk,offset=0,lag=0\r\n\
        master_repl_offset:90\r\n\
        replica0:lsn_sent=90,lsn_written=90,lsn_flushed=80,lsn_applied=90,lag_entries=0,lag_bytes=0,lag_ms=0\r\n\
        replica1:lsn_sent=9,lsn_written=8,lsn_flushed=7,lsn_applied=6,lag_entries=84,lag_bytes=840,lag_ms=5\r\n";

    #[test]
    fn replicas_are_told_with_their_lag() {
        let behind = Progress { online: false, applied: 6, lag_entries: 84, lag_bytes: 840, lag_ms: 5 };
        assert_eq!(replicas(INFO), [Progress { online: true, applied: 90, ..Progress::default() }, behind]);
        assert_eq!((number(INFO, "master_repl_offset"), field(INFO, "role"), field(INFO, "rol")), (90, Some("master"), None));
        assert_eq!(replicas("role:master\r\n"), []);
    }

    #[test]
    fn all_are_there_only_when_each_is_online_and_has_all() {
        assert!(!all_have_all(INFO, 2));
        let online = INFO.replace("send_bulk", "online");
        assert!(!all_have_all(&online, 2), "one has not applied all");
        let there = online.replace("lsn_applied=6", "lsn_applied=90");
        assert!(all_have_all(&there, 2) && !all_have_all(&there, 1) && !all_have_all(&there, 3));
    }
}
