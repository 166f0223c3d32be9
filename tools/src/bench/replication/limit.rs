//! Which resource was used up.

/// From which share on it was.
const USED_UP: f64 = 0.9;
/// From which share of all processors on other programs are told.
const NOTICEABLE: f64 = 0.05;
/// Of one processor's time, with nothing else to do than to wait for a disk.
const WAITING: f64 = 0.5;

/// What a run had used of what there was.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shares {
    /// Of one processor, by the busiest thread of each process, or of a link's rate.
    pub(super) parts: Vec<(String, f64)>,
    /// Of all processors, other programs included.
    pub(super) machine: f64,
    /// By other programs, part of the above.
    pub(super) others: f64,
    /// Processors that waited for a disk.
    pub(super) iowait: f64,
}

impl Shares {
    /// What was used up, the most used first; `otherwise` if nothing was.
    pub(super) fn limit(&self, otherwise: &str) -> String {
        let mut used: Vec<(&str, f64)> = self.parts.iter().map(|(name, share)| (name.as_str(), *share)).collect();
        used.retain(|(_, share)| *share >= USED_UP);
        used.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut names: Vec<&str> = used.into_iter().map(|(name, _)| name).collect();
        if self.iowait >= WAITING {
            names.push("disk");
        }
        let all = if self.others >= NOTICEABLE { "all processors, also by other programs" } else { "all processors" };
        names.extend((self.machine >= USED_UP).then_some(all));
        if names.is_empty() { format!("none ({otherwise})") } else { names.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_up_is_named_and_else_nothing() {
        let part = |name: &str, share| (name.to_owned(), share);
        let mut shares = Shares {
            parts: vec![part("primary", 0.91), part("client", 0.99), part("link 1", 0.89)],
            machine: 0.5,
            others: 0.4,
            iowait: 0.1,
        };
        assert_eq!(shares.limit("round trips"), "client, primary");
        shares.parts.truncate(1);
        (shares.machine, shares.iowait) = (0.95, 0.6);
        assert_eq!(shares.limit("round trips"), "primary, disk, all processors, also by other programs");
        (shares.others, shares.iowait) = (0.01, 0.0);
        assert_eq!(shares.limit("round trips"), "primary, all processors");
        assert_eq!(Shares::default().limit("round trips"), "none (round trips)");
    }
}
