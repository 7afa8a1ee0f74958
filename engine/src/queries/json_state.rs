//! States as JSON, for those who do not know the types of the program.

use crate::ask_error::AskError;
use crate::error::{Error, Result};
use crate::queries::answer::Answer;
use crate::queries::asked::Asked;
use crate::queries::changes::StateChanges;
use crate::queries::first::First;
use crate::queries::reaches::Reaches;
use crate::queries::state_reader::StateReader;
use crate::record::{Key, State};
use highwater_wal::Lsn;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// A key of a state, from outside.
#[derive(Debug, Clone, Copy)]
pub enum JsonKey<'a> {
    /// As text. A key that JSON writes as a string is that string, without quotes; another one is
    /// what JSON writes: `42`, `["a",1]`.
    Text(&'a str),
    /// As JSON: a string has quotes.
    Json(&'a str),
}

/// A key and its state, both as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonEntry {
    /// The key.
    pub key: String,
    /// The state; `None` if the key is gone.
    pub value: Option<String>,
}

/// Asks for keys of a state in JSON; see
/// [`StreamingContext::json_state`](crate::StreamingContext::json_state). What it promises is what
/// [`StateReader`] promises.
///
/// Floating-point numbers that JSON does not have (NaN, infinities) are written as `null`.
pub struct JsonState(Box<dyn Ask>);

impl fmt::Debug for JsonState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonState").field(&self.name()).finish()
    }
}

/// What each batch changes of a state, as JSON; see [`StateChanges`].
pub struct JsonChanges(Box<dyn Follow>);

impl fmt::Debug for JsonChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonChanges").finish_non_exhaustive()
    }
}

/// Makes one for the types of a state.
pub(crate) type MakeJsonState = fn(Asked) -> JsonState;

pub(crate) fn json_state<K: Key, S: State>(asked: Asked) -> JsonState {
    JsonState(Box::new(StateReader::<K, S>::new(asked)))
}

trait Ask: Send + Sync {
    fn asked(&self) -> &Asked;
    fn asked_mut(&mut self) -> &mut Asked;
    fn key(&self, key: JsonKey<'_>) -> Result<String>;
    fn get(&self, key: JsonKey<'_>) -> Result<Answer<Option<String>>>;
    fn list(&self, list: &List<'_>) -> Result<Answer<Vec<JsonEntry>>>;
    fn changes(&self) -> Result<JsonChanges>;
    fn copy(&self) -> JsonState;
}

/// Which keys are listed.
#[derive(Debug, Clone, Copy)]
struct List<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
}

trait Follow: Send {
    fn next_batch(&mut self) -> Result<Answer<Vec<JsonEntry>>>;
    fn ready(&self) -> Reaches;
    fn read_up_to(&self) -> Option<u64>;
}

impl Clone for JsonState {
    fn clone(&self) -> Self {
        self.0.copy()
    }
}

impl JsonState {
    /// The name of the state.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.asked().name
    }

    /// See [`StateReader::timeout`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.asked_mut().timeout = timeout;
        self
    }

    /// See [`StateReader::while_recovering`].
    #[must_use]
    pub fn while_recovering(mut self) -> Self {
        self.0.asked_mut().while_recovering = true;
        self
    }

    /// See [`StateReader::reaches`].
    pub fn reaches(&self, lsn: Lsn) -> Reaches {
        Reaches::of_lsn(self.0.asked().clone(), lsn)
    }

    /// See [`StateReader::as_of`].
    ///
    /// # Errors
    /// As there.
    pub fn as_of(&self) -> Result<Answer<()>> {
        self.0.asked().as_of()
    }

    /// A key as JSON, whether it has a state or not.
    ///
    /// # Errors
    /// [`AskError::NoKey`] if the text is no key of the state.
    pub fn key(&self, key: JsonKey<'_>) -> Result<String> {
        self.0.key(key)
    }

    /// The state of a key as JSON, if it has one.
    ///
    /// # Errors
    /// As [`StateReader::get`]; [`AskError::NoKey`] also if the text is no key of the state, and
    /// [`AskError::NotJson`] if JSON cannot write the state, such as a map whose keys are lists.
    pub fn get(&self, key: JsonKey<'_>) -> Result<Answer<Option<String>>> {
        self.0.get(key)
    }

    /// The first `limit` keys whose text begins with `prefix` and is greater than `after`,
    /// ascending by their text, byte by byte, with their states. The text of a key is that of
    /// [`JsonKey::Text`]. All keys of the state are looked at.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Answer<Vec<JsonEntry>>> {
        self.0.list(&List {
            prefix,
            after,
            limit,
        })
    }

    /// What each batch changes from now on.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn changes(&self) -> Result<JsonChanges> {
        self.0.changes()
    }
}

impl JsonChanges {
    /// See [`StateChanges::next_batch`].
    ///
    /// # Errors
    /// As there; [`AskError::NotJson`] if JSON cannot write a key or a state.
    pub fn next_batch(&mut self) -> Result<Answer<Vec<JsonEntry>>> {
        self.0.next_batch()
    }

    /// See [`StateChanges::ready`].
    pub fn ready(&self) -> Reaches {
        self.0.ready()
    }

    /// See [`StateChanges::read_up_to`].
    #[must_use]
    pub fn read_up_to(&self) -> Option<u64> {
        self.0.read_up_to()
    }
}

fn json<T: Serialize>(name: &str, what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::from(AskError::NotJson {
            name: name.to_owned(),
            what,
            message: error.to_string(),
        })
    })
}

/// The text of a key that JSON writes so.
fn text(json: String) -> String {
    match json.starts_with('"') {
        true => serde_json::from_str(&json).unwrap_or(json),
        false => json,
    }
}

fn key<K: Key>(name: &str, key: JsonKey<'_>) -> Result<K> {
    let (text, found) = match key {
        JsonKey::Json(text) => (text, serde_json::from_str(text)),
        JsonKey::Text(text) => {
            let string = serde_json::Value::String(text.to_owned());
            let as_string = serde_json::from_value(string);
            let found = as_string.or_else(|error| serde_json::from_str(text).map_err(|_| error));
            (text, found)
        }
    };
    found.map_err(|error| {
        Error::from(AskError::NoKey {
            name: name.to_owned(),
            key: text.to_owned(),
            message: error.to_string(),
        })
    })
}

impl<K: Key, S: State> Ask for StateReader<K, S> {
    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn asked_mut(&mut self) -> &mut Asked {
        &mut self.asked
    }

    fn key(&self, asked: JsonKey<'_>) -> Result<String> {
        json(self.name(), "key", &key::<K>(self.name(), asked)?)
    }

    fn get(&self, asked: JsonKey<'_>) -> Result<Answer<Option<String>>> {
        let answer = StateReader::get(self, &key::<K>(self.name(), asked)?)?;
        let state = answer.value.as_ref();
        let state = state.map(|state| json(self.name(), "state", state));
        let state = state.transpose()?;
        Ok(answer.map(|_| state))
    }

    fn list(&self, list: &List<'_>) -> Result<Answer<Vec<JsonEntry>>> {
        let answer = self.pinned(|snapshot| {
            snapshot.ask(|view| {
                let (mut first, mut failed) = (First::<String, (String, S)>::new(list.limit), None);
                view.walk(&mut |key: &K, state: &S| {
                    let json = match json(self.name(), "key", key) {
                        Ok(json) => json,
                        Err(error) => return failed = Some(error),
                    };
                    let text = text(json.clone());
                    let is_listed = text.starts_with(list.prefix)
                        && list.after.is_none_or(|after| text.as_str() > after);
                    if is_listed && first.wants(&text) {
                        first.add(text, (json, state.clone()));
                    }
                })?;
                match failed {
                    Some(error) => Err(error.into()),
                    None => Ok(first
                        .into_pairs()
                        .map(|(_, entry)| entry)
                        .collect::<Vec<_>>()),
                }
            })
        })?;
        let entries = answer.value.iter().map(|(key, state)| {
            Ok(JsonEntry {
                key: key.clone(),
                value: Some(json(self.name(), "state", state)?),
            })
        });
        let entries = entries.collect::<Result<_>>()?;
        Ok(answer.map(|_| entries))
    }

    fn changes(&self) -> Result<JsonChanges> {
        let changes = StateReader::changes(self)?;
        let name = self.name().to_owned();
        Ok(JsonChanges(Box::new(Following { name, changes })))
    }

    fn copy(&self) -> JsonState {
        JsonState(Box::new(self.clone()))
    }
}

struct Following<K, S> {
    name: String,
    changes: StateChanges<K, S>,
}

impl<K: Key, S: State> Follow for Following<K, S> {
    fn next_batch(&mut self) -> Result<Answer<Vec<JsonEntry>>> {
        let answer = self.changes.next_batch()?;
        let entries = answer.value.iter().map(|(key, state)| {
            let state = state.as_ref();
            let value = state.map(|state| json(&self.name, "state", state));
            Ok(JsonEntry {
                key: json(&self.name, "key", key)?,
                value: value.transpose()?,
            })
        });
        let entries = entries.collect::<Result<_>>()?;
        Ok(answer.map(|_| entries))
    }

    fn ready(&self) -> Reaches {
        self.changes.ready()
    }

    fn read_up_to(&self) -> Option<u64> {
        self.changes.read_up_to()
    }
}
