//! Names of files that a peer sends.

/// The longest name of a file.
const MAX_NAME: usize = 64;

/// Files that only differences have.
const OF_DIFFERENCES: [&str; 2] = ["LIVE", "RECORDS"];
/// Digits of a checkpoint's LSN.
const LSN_DIGITS: usize = 20;

/// Whether this can be the name of a segment, a checkpoint, or what only differences have: a peer's name becomes a path here, so nothing else may stand in it.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    if let Some(lsn) = name.strip_prefix("checkpoint-") {
        return lsn.len() == LSN_DIGITS && lsn.bytes().all(|byte| byte.is_ascii_digit());
    }
    if OF_DIFFERENCES.contains(&name) {
        return true;
    }
    let Some(stem) = name.strip_suffix(".seg") else { return false };
    !stem.is_empty() && name.len() <= MAX_NAME && stem.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::is_file_name;

    #[test]
    fn only_names_of_a_snapshots_files_pass() {
        assert!(is_file_name("00000000000000000001-00000001.seg"));
        assert!(is_file_name("0123456789abcdef0123456789abcdef.seg"));
        assert!(is_file_name("checkpoint-00000000000000000100"));
        assert!(is_file_name("LIVE") && is_file_name("RECORDS"));
        for name in [
            "checkpoint-../../../../../etc",
            "checkpoint-1",
            "",
            ".seg",
            "MANIFEST",
            "../1.seg",
            "a/b.seg",
            "1.seg/..",
            "A.seg",
            "1.seg\0",
            &format!("{}.seg", "0".repeat(80)),
        ] {
            assert!(!is_file_name(name), "{name}");
        }
    }
}
