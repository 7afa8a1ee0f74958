//! Says in one sentence where Highwater cannot run, instead of an error for each missing call.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_CFG_UNIX").is_none() {
        println!(
            "cargo::error=Highwater does not run on this system, because here it could neither make the names in a \
             directory durable nor lock the directory: use Linux (also in WSL 2), or another Unix for development"
        );
    }
}
