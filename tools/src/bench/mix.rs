//! Which command a request is.

use std::fmt;
use std::str::FromStr;

use rand::Rng;

/// A command that the load is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// SET, with EX if there is a time to live.
    Set,
    /// GET.
    Get,
    /// DEL of one key.
    Del,
    /// INCR, of keys of its own.
    Incr,
    /// EXPIRE.
    Expire,
    /// PING.
    Ping,
}

impl Op {
    /// All of them, in the order of reports.
    pub(super) const ALL: [Self; 6] = [Self::Set, Self::Get, Self::Del, Self::Incr, Self::Expire, Self::Ping];

    /// Its name in options and reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Get => "get",
            Self::Del => "del",
            Self::Incr => "incr",
            Self::Expire => "expire",
            Self::Ping => "ping",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }
}

/// Shares of commands.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    /// In the order in which they were given.
    shares: Vec<(Op, f64)>,
    total: f64,
}

impl Mix {
    /// Only this command.
    pub(super) fn only(op: Op) -> Self {
        Self { shares: vec![(op, 1.0)], total: 1.0 }
    }

    /// Whether the command occurs.
    pub(super) fn has(&self, op: Op) -> bool {
        self.shares.iter().any(|(of, _)| *of == op)
    }

    /// The next command.
    pub(super) fn choose(&self, rng: &mut impl Rng) -> Op {
        let mut at = if self.shares.len() > 1 { rng.random::<f64>() * self.total } else { 0.0 };
        for (op, share) in &self.shares {
            if at < *share {
                return *op;
            }
            at -= share;
        }
        self.shares[self.shares.len() - 1].0
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self { shares: Vec::new(), total: 0.0 };
        for part in text.split(',') {
            let (name, share) = part.split_once('=').unwrap_or((part, "1"));
            let op = Op::of_name(name).ok_or_else(|| format!("{name:?} is none of set, get, del, incr, expire, ping"))?;
            let share: f64 = share.parse().map_err(|_| format!("{share:?} is no number"))?;
            if !share.is_finite() || share < 0.0 {
                return Err(format!("{share} is no share"));
            }
            if share > 0.0 {
                mix.shares.push((op, share));
                mix.total += share;
            }
        }
        if mix.shares.is_empty() { Err("no command has a share".to_owned()) } else { Ok(mix) }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (op, share)) in self.shares.iter().enumerate() {
            write!(f, "{}{}={share}", if number > 0 { "," } else { "" }, op.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn commands_occur_by_their_shares() {
        let mix: Mix = "set=30,get=70,del=0".parse().unwrap();
        let mut rng = SmallRng::seed_from_u64(7);
        let sets = (0..100_000).filter(|_| mix.choose(&mut rng) == Op::Set).count();
        assert!((29_000..31_000).contains(&sets), "{sets}");
        assert!(mix.has(Op::Get) && !mix.has(Op::Del) && mix.to_string() == "set=30,get=70");
    }
}
