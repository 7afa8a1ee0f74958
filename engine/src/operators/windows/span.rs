//! Length and slide of a window, and the panes into which time is cut for it.
//!
//! A window that ends at `t` covers `(t - length, t]`. Panes have the length of the greatest common
//! divisor of length and slide, so a window always consists of whole panes. A pane is named by the
//! time at which it ends: that is a multiple of its length after the `zero` of the batch clock, and
//! it covers the batches with times `(end - pane, end]`.

use crate::error::GraphError;
use std::time::Duration;

/// Length and slide of a window, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    length_ms: u64,
    slide_ms: u64,
}

/// The end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The batch time at which it ends.
    pub(crate) at_ms: u64,
    /// Panes that end here or earlier are not in it.
    pub(crate) outside_ms: u64,
    /// Panes that end here or earlier are not in the next window either.
    pub(crate) outside_next_ms: u64,
}

impl Span {
    /// A window of `length` every `slide`. Both must be positive multiples of `step_ms`, the time
    /// between two batches in which the stream has records. `operator` is for the message.
    pub(crate) fn new(
        length: Duration,
        slide: Duration,
        step_ms: u64,
        operator: &str,
    ) -> Result<Self, GraphError> {
        let multiple = |what, given: Duration| {
            let ms = u64::try_from(given.as_millis()).unwrap_or(u64::MAX);
            let is_whole = Duration::from_millis(ms) == given;
            if is_whole && ms > 0 && ms.is_multiple_of(step_ms.max(1)) {
                return Ok(ms);
            }
            Err(GraphError::BadWindow {
                operator: operator.to_owned(),
                what,
                given,
                interval: Duration::from_millis(step_ms),
            })
        };
        Ok(Self {
            length_ms: multiple("length", length)?,
            slide_ms: multiple("slide", slide)?,
        })
    }

    /// A window of one batch, in place of one that was refused.
    pub(crate) fn of_one_step(step_ms: u64) -> Self {
        Self {
            length_ms: step_ms.max(1),
            slide_ms: step_ms.max(1),
        }
    }

    /// The time between two windows.
    pub(crate) fn slide_ms(self) -> u64 {
        self.slide_ms
    }

    /// The length of a pane.
    pub(crate) fn pane_ms(self) -> u64 {
        let (mut a, mut b) = (self.length_ms, self.slide_ms);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    }

    /// The end of the pane in which the batch of `time_ms` lies.
    pub(crate) fn pane(self, time_ms: u64, zero_ms: u64) -> u64 {
        next_multiple(time_ms, zero_ms, self.pane_ms())
    }

    /// Whether any window has the pane that ends at `pane_ms`. If the slide is longer than the
    /// length there are gaps.
    pub(crate) fn has(self, pane_ms: u64, zero_ms: u64) -> bool {
        next_multiple(pane_ms, zero_ms, self.slide_ms) - pane_ms < self.length_ms
    }

    /// The window that ends at `time_ms`, which is the end of a slide.
    pub(crate) fn ending(self, time_ms: u64) -> Ending {
        let next = time_ms.saturating_add(self.slide_ms);
        Ending {
            at_ms: time_ms,
            outside_ms: time_ms.saturating_sub(self.length_ms),
            outside_next_ms: next.saturating_sub(self.length_ms),
        }
    }
}

/// The first time from `time_ms` on that is a whole number of `step_ms` away from `zero_ms`.
fn next_multiple(time_ms: u64, zero_ms: u64, step_ms: u64) -> u64 {
    let step_ms = step_ms.max(1);
    // Not above twice a step, and steps are lengths of windows.
    let beyond = (u128::from(time_ms % step_ms) + u128::from(step_ms)
        - u128::from(zero_ms % step_ms))
        % u128::from(step_ms);
    match u64::try_from(beyond).unwrap_or(0) {
        0 => time_ms,
        beyond => time_ms.saturating_add(step_ms - beyond),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(length: u64, slide: u64) -> Span {
        let [length, slide] = [length, slide].map(Duration::from_millis);
        Span::new(length, slide, 1, "window").unwrap()
    }

    #[test]
    fn what_is_no_multiple_is_refused_with_both_numbers_and_the_operator() {
        let second = Duration::from_secs(1);
        for (length, slide, what, number) in [
            (Duration::from_millis(2500), second, "length", "2.5s"),
            (second, Duration::from_millis(1500), "slide", "1.5s"),
            (Duration::ZERO, second, "length", "0ns"),
            (second, Duration::ZERO, "slide", "0ns"),
            (
                second * 2 + Duration::from_micros(1),
                second,
                "length",
                "2.000001s",
            ),
            (Duration::MAX, second, "length", "18446744073709551615"),
        ] {
            let error = Span::new(length, slide, 1000, "window \"w\" at a.rs:1").unwrap_err();
            let text = error.to_string();
            for part in ["window \"w\" at a.rs:1", what, number, "1s"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
        let span = Span::new(second * 3, second * 2, 1000, "window").unwrap();
        assert_eq!((span.pane_ms(), span.slide_ms()), (1000, 2000));
    }

    /// The definition, batch by batch: each time step is a batch, and a window has the batches of
    /// `(t - length, t]`.
    fn check(length: u64, slide: u64, zero: u64) {
        let span = span(length, slide);
        let pane = |time| span.pane(time, zero);
        for time in 1..400_u64 {
            let end = pane(time);
            assert!(end >= time && end - time < span.pane_ms());
            let is_end = |t: u64| t % slide == zero % slide;
            let windows: Vec<u64> = (time..1000)
                .filter(|t| is_end(*t) && t - time < length)
                .collect();
            assert_eq!(span.has(end, zero), !windows.is_empty(), "{time}");
            for t in (0..600).filter(|t| is_end(*t)) {
                let ending = span.ending(t);
                if t >= time {
                    assert_eq!(
                        end > ending.outside_ms,
                        windows.contains(&t),
                        "{time} in {t}"
                    );
                    let next = windows.contains(&(t + slide));
                    assert_eq!(end > ending.outside_next_ms, next, "{time} after {t}");
                } else {
                    assert!(end > t, "a pane does not reach beyond the end of a slide");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn panes_cut_windows_where_they_begin_and_end(
            length in 1_u64..30,
            slide in 1_u64..30,
            zero in 0_u64..600,
        ) {
            check(length, slide, zero);
        }
    }

    #[test]
    fn times_at_the_ends_of_the_range_do_not_overflow() {
        let span = span(u64::MAX - 1, 2);
        assert_eq!(span.pane(u64::MAX, 0), u64::MAX);
        assert_eq!(span.ending(1).outside_ms, 0);
        assert_eq!(span.ending(u64::MAX).outside_next_ms, 1);
        assert_eq!(next_multiple(0, u64::MAX, u64::MAX), 0);
        assert_eq!(next_multiple(5, 3, u64::MAX), u64::MAX);
    }
}
