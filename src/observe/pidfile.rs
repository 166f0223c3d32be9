//! The file that holds the process id while the server runs.

use std::path::PathBuf;

/// Removes the file when dropped.
#[derive(Debug)]
pub struct PidFile(Option<PathBuf>);

impl PidFile {
    /// Writes the process id into the file, if one is wanted. That it cannot be written is worth a message, not a failed start.
    #[must_use]
    pub fn create(path: Option<PathBuf>) -> Self {
        let written = path.filter(|path| match std::fs::write(path, format!("{}\n", std::process::id())) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("cannot write the pid file {}: {error}", path.display());
                false
            }
        });
        Self(written)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
mod tests {
    use super::PidFile;

    #[test]
    fn the_file_lives_as_long_as_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let file = PidFile::create(Some(path.clone()));
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), std::process::id().to_string());
        drop(file);
        assert!(!path.exists());
        drop(PidFile::create(Some(directory.path().join("none/pid"))));
    }
}
