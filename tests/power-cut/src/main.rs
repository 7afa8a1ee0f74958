//! The log under power cuts of a real kernel and real file systems. README.md says what this shows
//! and how to run it.
//!
//! This program is the first process of a virtual machine. It gives the kernel a block device whose
//! medium is its own memory ([`medium`], [`nbd`]). It starts itself again to write a log on a file
//! system there ([`life`], [`load`]). Then it makes a power cut of every recorded flush: it puts
//! the medium into a state that the cut may leave, and mounts it. It starts itself again to read
//! the log ([`trial`], [`wire`]), and judges what that shows ([`judge`]).

mod careless;
mod judge;
mod life;
mod load;
mod machine;
mod medium;
mod nbd;
mod settings;
mod trial;
mod wire;

use crate::settings::{Cheat, Settings};
use crate::trial::Outcome;
use std::fmt::Write as _;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, rest @ ..] = arguments.as_slice()
        && word == life::LIVE
    {
        return life::live(rest);
    }
    machine::prepare();
    let settings = match Settings::from_arguments(arguments.into_iter()) {
        Ok(settings) => settings,
        Err(what) => {
            println!("power-cut: {what}");
            return machine::power_off();
        }
    };
    let result = if settings.probe {
        "ready"
    } else {
        run(&settings)
    };
    println!("power-cut: {result}");
    machine::power_off();
}

/// Every set-up that is wanted. An honest log must not fail once; one that cheats must fail in
/// each.
fn run(settings: &Settings) -> &'static str {
    let mut right = true;
    let mut bench = trial::Bench::start(settings);
    for setup in settings.setups() {
        println!("{setup}");
        let outcome = bench.try_setup(&setup, settings);
        println!("{setup}: {}", told(&outcome));
        right &= match settings.cheat {
            Cheat::None => outcome.failures == 0 && outcome.states > 0,
            _ => outcome.failures > 0,
        };
    }
    match (right, settings.cheat) {
        (true, Cheat::None) => "passed",
        (true, _) => "passed: every cheat was caught",
        (false, Cheat::None) => "FAILED",
        (false, _) => "FAILED: a cheat was not caught",
    }
}

fn told(outcome: &Outcome) -> String {
    let mut text = format!(
        "{} power cuts at {} flushes, {} of them with another in the life after; {} acknowledged records checked; \
         {} failures; {} s;",
        outcome.states,
        outcome.flushes,
        outcome.second_cuts,
        outcome.acknowledged,
        outcome.failures,
        outcome.seconds
    );
    let _ = write!(
        text,
        " {} torn states refused by the file system, then tried with whole blocks; the log found:",
        outcome.refused
    );
    for (case, count) in &outcome.cases {
        let _ = write!(text, " {count} {case}");
    }
    text
}
