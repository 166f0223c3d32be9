#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;

use super::*;

fn run(words: &[&str]) -> Result<Loaded, LoadError> {
    let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    match from_command_line(&words)? {
        Invocation::Run(loaded) => Ok(loaded),
        Invocation::Print(text) => panic!("printed {text}"),
    }
}

fn refusal(words: &[&str]) -> String {
    run(words).unwrap_err().to_string()
}

/// The values read from a file with this text, and its path.
fn run_file(text: &str) -> (tempfile::TempDir, String, Result<Loaded, LoadError>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("esker.conf").to_str().unwrap().to_owned();
    fs::write(&path, text).unwrap();
    let loaded = run(&[&path]);
    (directory, path, loaded)
}

#[test]
fn options_are_read_as_redis_server_reads_them() {
    let loaded =
        run(&["--port", "7000", "--save", "", "--bind", "127.0.0.1", "-::1", "--requirepass", "--odd", "--appendfsync", "ALWAYS"]).unwrap();
    let text = |name| loaded.values.text(name).to_owned();
    assert_eq!((text("port"), text("bind"), text("requirepass")), ("7000".into(), "127.0.0.1 -::1".into(), "--odd".into()));
    assert_eq!((text("save"), text("appendfsync")), (String::new(), "always".into()));
    assert_eq!(run(&["--port 7001"]).unwrap().values.text("port"), "7001");
    assert_eq!(run(&["--save", "--port", "7002"]).unwrap().values.text("port"), "7002");
    assert_eq!(run(&["--save", "60", "1", "--save", "10", "5"]).unwrap().values.text("save"), "60 1 10 5");
    assert!(run(&["--save"]).is_ok());
}

#[test]
fn an_unknown_or_wrong_option_is_told_in_the_form_of_redis() {
    let expected = |line: &str, reason: &str| {
        let version = env!("CARGO_PKG_VERSION");
        format!("\n*** FATAL CONFIG FILE ERROR (Esker {version}) ***\nReading the command line, at line 1\n>>> '{line}'\n{reason}")
    };
    assert_eq!(refusal(&["--prot", "7"]), expected("prot \"7\"", "Bad directive or wrong number of arguments"));
    assert_eq!(refusal(&["--port"]), expected("port", "wrong number of arguments"));
    assert_eq!(refusal(&["--port", "1", "2"]), expected("port \"1\" \"2\"", "wrong number of arguments"));
    assert_eq!(refusal(&["--save", "1"]), expected("save \"1\"", "Invalid save parameters"));
    assert_eq!(refusal(&["--databases", "17"]), expected("databases \"17\"", "argument must be between 1 and 16 inclusive"));
}

#[test]
fn a_wrong_line_of_a_file_is_named_with_file_and_number() {
    let (_directory, path, loaded) = run_file("port 7000\n\n# fine\n   frob 1 2\n");
    let text = loaded.unwrap_err().to_string();
    let expected =
        format!("Reading the configuration file '{path}', at line 4\n>>> 'frob 1 2'\nBad directive or wrong number of arguments");
    assert!(text.ends_with(&expected), "{text}");
    let (_directory, _, loaded) = run_file("port 7000\nrequirepass \"open\n");
    assert!(loaded.unwrap_err().to_string().ends_with("line 2\n>>> 'requirepass \"open'\nUnbalanced quotes in configuration line"));
}

#[test]
fn a_missing_file_is_named() {
    assert_eq!(refusal(&["/none/a.conf"]), "Fatal error, can't open config file '/none/a.conf': No such file or directory (os error 2)");
}

#[test]
fn a_directive_without_meaning_is_accepted_with_one_line_for_the_log() {
    let (_directory, path, loaded) = run_file("hash-max-listpack-entries 512\nport 7000\nappendonly no\ndaemonize yes\n");
    let loaded = loaded.unwrap();
    assert_eq!(loaded.notes.len(), 3);
    let expected =
        format!("hash-max-listpack-entries has no effect here (values have one encoding): the configuration file '{path}', line 1");
    assert_eq!(loaded.notes[0], expected);
    assert_eq!(loaded.values.text("appendonly"), "yes");
}

#[test]
fn included_files_and_options_override_what_stands_before() {
    let (directory, path, _) = run_file("timeout 1\nport 1\ninclude PLACE/more-*.conf\nport 3\n");
    let place = directory.path().to_str().unwrap();
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("PLACE", place)).unwrap();
    fs::write(directory.path().join("more-1.conf"), "timeout 2\nmaxclients 5\n").unwrap();
    fs::write(directory.path().join("more-2.conf"), "maxclients 6\n").unwrap();
    let values = run(&[&path, "--port", "4"]).unwrap().values;
    assert_eq!((values.integer("timeout"), values.integer("maxclients"), values.integer("port")), (2, 6, 4));
    fs::write(&path, format!("include {path}\n")).unwrap();
    assert!(refusal(&[&path]).contains("include one another"));
}

#[test]
fn version_and_help_are_printed() {
    for (option, start) in [("--version", "Esker server v="), ("-v", "Esker server v="), ("--help", "Usage:"), ("-h", "Usage:")] {
        let Invocation::Print(text) = from_command_line(&[option.to_owned()]).unwrap() else { panic!("no text") };
        assert!(text.starts_with(start), "{text}");
    }
}

#[test]
fn the_names_of_redis_are_all_known() {
    let names = include_str!("redis_7_0_names.txt");
    let unknown: Vec<&str> = names.split_ascii_whitespace().filter(|name| number_of(name).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(names.split_ascii_whitespace().count() > 190);
}
