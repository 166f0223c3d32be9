//! Prints the tables of `docs/operations.md` from the directive table: `cargo run --example options`.

fn main() {
    println!("{}\n{}", esker::config::reference::options(), esker::config::reference::accepted());
}
