//! Prints `docs/commands.md` from the command table: `cargo run --example commands > docs/commands.md`.

fn main() {
    print!("{}", esker::command::reference::markdown());
}
