//! The page in a browser, on a program that runs, is killed, and recovers.
//!
//! Needs Chromium, Node, and the packages that `tools` names, in `target/browser`. Where one of
//! them is missing it says so and passes, unless `HIGHWATER_REQUIRE_BROWSER` is set.
//! `HIGHWATER_SCREENSHOTS=1` writes the pictures of the documentation anew.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod program;
mod tools;

use crate::program::Program;
use crate::tools::Browser;
use std::net::TcpListener;

/// A port that is free, for a program that comes back to it.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_page_in_a_browser_follows_its_program_through_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, port) = (dir.path().join("app"), free_port());
    let mut program = Program::start(&dir, port, false);
    let Some(mut browser) = Browser::start(&format!("http://127.0.0.1:{port}/")) else {
        return;
    };
    browser.does("open light");
    browser.does("phase steady");
    program.does("send 40");
    browser.does("figures 40 40");
    browser.does("axe light");
    browser.does("axe dark");
    browser.does("keyboard");
    browser.does("narrow");
    browser.does("without-scripts");
    if std::env::var_os("HIGHWATER_SCREENSHOTS").is_some() {
        browser.does("screenshots");
    }
    browser.does("quiet");
    // Killed: the page says so, and what it shows stays.
    program.kill();
    browser.does("lost");
    // Its batches are held back: the page that was open all the time shows the recovery.
    let mut program = Program::start(&dir, port, true);
    browser.does("phase recovering");
    browser.does("axe light");
    program.does("go");
    browser.does("phase steady");
    // Nothing is lost, nothing is counted twice; the sources count from the start.
    browser.does("figures 0 40");
    program.does("send 60");
    browser.does("figures 60 60");
    browser.does("phases steady,recovering,steady");
    // The line on which the program fails.
    program.does("fail");
    browser.does("phase failed");
    browser.does("axe dark");
    browser.does("failure");
    browser.does("quiet");
    browser.does("close");
}
