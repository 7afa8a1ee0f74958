//! The commonest mistakes do not compile, and the compiler says what to do.
//!
//! The messages beside the programs are those of one version of the compiler; with another one they
//! may be laid out differently, so nothing is compared then. `TRYBUILD=overwrite cargo test --test
//! compile_fail` renews them, and then they want to be read.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::process::Command;

const COMPILER: &str = "rustc 1.95.";

#[test]
fn the_commonest_mistakes_do_not_compile_and_say_what_to_do() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(rustc).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    if !version.starts_with(COMPILER) {
        println!("skipped: the messages are those of {COMPILER}x, this is {version}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
}
