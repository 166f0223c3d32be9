//! Generates the types of `proto/peer.proto`. Nothing outside cargo is needed: the generator is Rust too.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    protobuf_codegen_pure::Codegen::new().out_dir(&out).include("proto").input("proto/peer.proto").run()?;
    // Attributes of a file cannot stand where the code is included: the module around it has those that are needed.
    let generated = out.join("peer.rs");
    let code = fs::read_to_string(&generated)?;
    let kept = code.lines().filter(|line| !line.starts_with("#![") && !line.starts_with("//!"));
    fs::write(generated, kept.flat_map(|line| [line, "\n"]).collect::<String>())
}
