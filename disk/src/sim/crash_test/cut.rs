//! Which cut it is, in words: `op=12 seed=0`, `op=12 seed=0 again=3`.

use crate::sim::rng::Rng;
use std::fmt;

/// Names one cut: then only that one is made.
pub(super) const VARIABLE: &str = "HIGHWATER_CRASH";

/// One cut of a crash test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// The power goes off before this mutation of the program.
    pub(super) op: u64,
    /// Decides which un-synced sectors and names survive.
    pub(super) seed: u64,
    /// It goes off once more, before this mutation of the recovery.
    pub(super) again: Option<u64>,
}

impl Cut {
    /// Reads what [`Display`](fmt::Display) writes.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            format!(
                "\"{text}\" names no cut: {why}; write it as \"op=12 seed=0\" or \"op=12 seed=0 again=3\""
            )
        };
        let (mut op, mut seed, mut again) = (None, None, None);
        for word in text.split_whitespace() {
            let (name, number) = word
                .split_once('=')
                .ok_or_else(|| bad(&format!("{word} has no =")))?;
            let slot = match name {
                "op" => &mut op,
                "seed" => &mut seed,
                "again" => &mut again,
                _ => return Err(bad(&format!("there is no {name}"))),
            };
            let number = number
                .parse()
                .map_err(|_| bad(&format!("{number} is no number")))?;
            if slot.replace(number).is_some() {
                return Err(bad(&format!("{name} is there twice")));
            }
        }
        Ok(Self {
            op: op.ok_or_else(|| bad("op is missing"))?,
            seed: seed.ok_or_else(|| bad("seed is missing"))?,
            again,
        })
    }

    /// What the restart after the first cut draws from, and that after the second one.
    pub(super) fn draws(self) -> [u64; 2] {
        // Every cut draws anew: with one seed for all of them, all would keep the same share.
        let mut rng = Rng::new(self.seed ^ self.op.rotate_left(32));
        [rng.next_u64(), rng.next_u64()]
    }

    /// One line for a shell that makes this cut alone.
    pub(super) fn line_to_paste(self) -> String {
        let thread = std::thread::current();
        let test = thread.name().filter(|name| *name != "main");
        let command = match test {
            Some(test) => {
                let package = std::env::var("CARGO_PKG_NAME").ok();
                let package = package.map_or(String::new(), |name| format!(" -p {name}"));
                format!("cargo test{package} {test} -- --exact")
            }
            // A program of its own.
            None => std::env::args().collect::<Vec<_>>().join(" "),
        };
        format!("{VARIABLE}=\"{self}\" {command}")
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op={} seed={}", self.op, self.seed)?;
        match self.again {
            Some(again) => write!(f, " again={again}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_read_as_it_is_written() {
        for again in [None, Some(3)] {
            let cut = Cut {
                op: 12,
                seed: u64::MAX,
                again,
            };
            assert_eq!(Cut::parse(&cut.to_string()), Ok(cut));
        }
    }

    #[test]
    fn what_names_no_cut_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "op is missing"),
            ("op=1", "seed is missing"),
            ("op=1 seed", "seed has no ="),
            ("op=1 seed=-1", "-1 is no number"),
            ("op=1 op=2 seed=3", "op is there twice"),
            ("op=1 seed=3 step=4", "there is no step"),
        ] {
            let error = Cut::parse(text).unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(error.contains("op=12 seed=0 again=3"), "{error}");
        }
    }

    #[test]
    fn each_cut_draws_its_own_survivors() {
        let draws = |op, seed| {
            Cut {
                op,
                seed,
                again: None,
            }
            .draws()
        };
        assert_eq!(draws(1, 2), draws(1, 2));
        assert_ne!(draws(1, 2), draws(2, 2));
        assert_ne!(draws(1, 2), draws(1, 3));
    }
}
