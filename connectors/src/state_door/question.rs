//! What a request asks, by its path and query. Nothing of a query is ignored.

use crate::state_door::answer::Refusal;
use crate::state_door::options::StateDoorOptions;
use crate::state_door::percent::{Part, decode};
use highwater_engine::JsonKey;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a request asks for, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) target: Target,
    /// The record at this position must be in the answer.
    pub(super) min_lsn: Option<u64>,
    pub(super) wait: Duration,
    /// The answer may be of an older batch than one before a restart.
    pub(super) recovering: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Which states there are.
    States,
    Key {
        state: String,
        key: Key,
    },
    List {
        state: String,
        list: List,
    },
    /// What each batch changes.
    Changes {
        state: String,
    },
}

/// A key, as the client writes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    Text(String),
    Json(String),
}

impl Key {
    pub(super) fn as_json_key(&self) -> JsonKey<'_> {
        match self {
            Self::Text(text) => JsonKey::Text(text),
            Self::Json(json) => JsonKey::Json(json),
        }
    }
}

/// Which keys are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List {
    pub(super) prefix: String,
    pub(super) after: Option<String>,
    pub(super) limit: usize,
}

impl Question {
    /// # Errors
    /// 404 for another path, 400 for a text that is none or a parameter that is unknown, there
    /// twice, or out of its bounds.
    pub(super) fn of(
        path: &str,
        query: Option<&str>,
        options: &StateDoorOptions,
    ) -> Result<Self, Refusal> {
        let mut query = Query::of(query)?;
        let target = Target::of(path, &mut query, options)?;
        let max_wait = u64::try_from(options.max_wait.as_millis()).unwrap_or(u64::MAX);
        let is_feed = matches!(target, Target::Changes { .. });
        let mut question = Self {
            target,
            min_lsn: None,
            wait: options.max_wait,
            recovering: false,
        };
        if !is_feed {
            question.min_lsn = query.number("min_lsn", 0, u64::MAX)?;
            if let Some(wait) = query.number("wait_ms", 0, max_wait)? {
                question.wait = Duration::from_millis(wait);
            }
            question.recovering = query.flag("recovering")?;
        }
        query.ends(path)?;
        Ok(question)
    }
}

impl Target {
    fn of(path: &str, query: &mut Query, options: &StateDoorOptions) -> Result<Self, Refusal> {
        let mut parts = path.split('/').skip(1);
        let kind = parts.next().unwrap_or_default();
        let name = parts.next().map(text_of_path).transpose()?;
        let key = parts.next().map(text_of_path).transpose()?;
        let has_more = parts.next().is_some();
        match (kind, name, key, has_more) {
            ("state", None, None, false) => Ok(Self::States),
            ("state", Some(state), None, false) => match query.take("key") {
                Some(json) => Ok(Self::Key {
                    state,
                    key: Key::Json(json),
                }),
                None => Ok(Self::List {
                    state,
                    list: List::of(query, options)?,
                }),
            },
            ("state", Some(state), Some(text), false) => Ok(Self::Key {
                state,
                key: Key::Text(text),
            }),
            ("changes", Some(state), None, false) => Ok(Self::Changes { state }),
            ("state", ..) => Err(Refusal::no_such_path(format!(
                "{path}: a slash in a name or a key is written %2F"
            ))),
            _ => Err(Refusal::no_such_path(format!(
                "{path}: there are /state, /state/{{name}}, /state/{{name}}/{{key}} and /changes/{{name}}"
            ))),
        }
    }
}

impl List {
    fn of(query: &mut Query, options: &StateDoorOptions) -> Result<Self, Refusal> {
        let most = options.max_listed_keys;
        let limit = query.number("limit", 1, most as u64)?;
        Ok(Self {
            prefix: query.take("prefix").unwrap_or_default(),
            after: query.take("after"),
            limit: limit.map_or(most, |limit| usize::try_from(limit).unwrap_or(most)),
        })
    }
}

fn text_of_path(text: &str) -> Result<String, Refusal> {
    decode(text, Part::Path).map_err(Refusal::bad)
}

/// The parameters that were not looked at yet.
struct Query(BTreeMap<String, String>);

impl Query {
    fn of(query: Option<&str>) -> Result<Self, Refusal> {
        let mut all = BTreeMap::new();
        for parameter in query
            .into_iter()
            .filter(|q| !q.is_empty())
            .flat_map(|q| q.split('&'))
        {
            let Some((name, value)) = parameter.split_once('=') else {
                return Err(Refusal::bad(format!(
                    "the parameter {parameter:?} of the query is no name=value"
                )));
            };
            let [name, value] = [name, value].map(|text| decode(text, Part::Query));
            let (name, value) = (name.map_err(Refusal::bad)?, value.map_err(Refusal::bad)?);
            if all.contains_key(&name) {
                return Err(Refusal::bad(format!("{name:?} is in the query twice")));
            }
            all.insert(name, value);
        }
        Ok(Self(all))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn number(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        // `parse` takes a sign too.
        let is_plain = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_plain);
        let number = number.filter(|number| (least..=most).contains(number));
        let fault = || {
            Refusal::bad(format!(
                "{name} is {text:?}: a number from {least} to {most}"
            ))
        };
        number.map(Some).ok_or_else(fault)
    }

    fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Refusal::bad(format!("{name} is {other:?}: true or false"))),
        }
    }

    fn ends(self, path: &str) -> Result<(), Refusal> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Refusal::bad(format!(
                "{path} has no parameter {name:?} here"
            ))),
        }
    }
}
