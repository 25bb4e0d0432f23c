//! Rebuilds the program when a file is added to or removed from an embedded folder. The macro that
//! embeds them only notices changes to files that it has seen before.

fn main() {
    for folder in ["static", "templates"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
