//! Which part of the memory for bodies each sender may have.

use crate::http::options::HttpOptions;
use highwater_http::request_body::Budget;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The memory for bodies, and the share of each token.
#[derive(Debug)]
pub(super) struct Budgets {
    whole: Arc<Budget>,
    /// Tokens of one sender have one share.
    shares: Vec<Arc<Budget>>,
}

impl Budgets {
    pub(super) fn new(options: &HttpOptions) -> Self {
        let whole = Budget::new(options.max_bytes_in_flight);
        let names = options.access.tokens.iter().map(|token| &*token.name);
        let senders: BTreeMap<&str, Arc<Budget>> = {
            let several = names.clone().any(|name| Some(name) != names.clone().next());
            let default = options.max_bytes_in_flight / if several { 2 } else { 1 };
            let most = options.max_bytes_of_sender.unwrap_or(default);
            names
                .clone()
                .map(|name| (name, whole.share(most)))
                .collect()
        };
        let shares = names.filter_map(|name| senders.get(name)).map(Arc::clone);
        Self {
            shares: shares.collect(),
            whole,
        }
    }

    /// Of the sender with this token.
    pub(super) fn of(&self, token: Option<usize>) -> &Arc<Budget> {
        let share = token.and_then(|token| self.shares.get(token));
        share.unwrap_or(&self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_http::request_body::WholeBody;

    #[test]
    fn a_sender_has_its_share_and_gives_it_back() {
        let options = |names: &[&str]| {
            let options = HttpOptions::new().max_bytes_in_flight(100);
            names.iter().fold(options, |options, name| {
                options.token(name, "a-secret-of-16-bytes")
            })
        };
        let budgets = Budgets::new(&options(&["a", "b", "a"]));
        let take = |token, bytes| {
            let mut body = WholeBody::new(budgets.of(Some(token)));
            body.push(&vec![0; bytes], 1000).map(|()| body)
        };
        let first = take(0, 40).unwrap();
        take(2, 11).unwrap_err(); // another token of the same sender
        let second = take(1, 50).unwrap();
        take(1, 1).unwrap_err();
        assert_eq!(budgets.of(None).left(), 10);
        drop(first);
        let _third = take(2, 50).unwrap();
        assert_eq!(budgets.of(None).left(), 0);
        drop(second);
        assert_eq!(budgets.of(None).left(), 50);
        let left = |options: &HttpOptions| Budgets::new(options).of(Some(0)).left();
        assert_eq!(left(&options(&["a", "a"])), 100, "it is alone");
        assert_eq!(left(&options(&["a", "b"])), 50);
        assert_eq!(left(&options(&["a"]).max_bytes_in_flight_of_sender(7)), 7);
    }
}
