//! `maxclients` against the number of files that the system lets this process open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Config;

/// Files that the server needs itself.
const OWN_FILES: u64 = 32;

/// Whether so many clients can be connected at once.
pub fn enough_for(clients: u64) -> Result<(), String> {
    let most = getrlimit(Resource::Nofile).maximum.map_or(u64::MAX, |files| files.saturating_sub(OWN_FILES));
    if clients <= most {
        return Ok(());
    }
    Err(format!("The operating system is not able to handle the specified number of clients, try with {most}"))
}

impl Config {
    /// Has the system allow as many open files as it may, and lowers `maxclients` where that is too few; gives a line for the log then.
    pub fn fit_open_files(&self) -> Option<String> {
        let limit = getrlimit(Resource::Nofile);
        // What is refused leaves the limit as it is, which is what counts below.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let files = getrlimit(Resource::Nofile).current?;
        let (wanted, most) = (u64::from(self.hot().max_clients()), files.saturating_sub(OWN_FILES).max(1));
        if wanted <= most {
            return None;
        }
        let lowered = self.set(&[("maxclients", &most.to_string())]);
        lowered.ok().map(|_| format!("maxclients {wanted} is lowered to {most}: the system allows {files} open files"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxclients_fits_the_open_files() {
        let config = Config::default();
        config.fit_open_files();
        assert!(enough_for(u64::from(config.hot().max_clients())).is_ok());
        assert!(enough_for(u64::from(u32::MAX)).is_err());
    }
}
