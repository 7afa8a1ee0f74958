//! Which fields a value has that were not in the bytes from which it was decoded.

use crate::codec::message_pack;
use rmpv::Value;
use serde::Serialize;

/// So many values of a type are looked at: all have the same fields, as a rule.
const LOOKED_AT: u32 = 256;

/// Notes the fields of the values of one type that `#[serde(default)]` has filled in.
#[derive(Debug, Default)]
pub(crate) struct Defaulted {
    looked_at: u32,
}

impl Defaulted {
    /// Looks at a value that is not written as it was read, and calls `added` with the path of
    /// every field that `bytes` do not have.
    pub(crate) fn note<T: Serialize>(
        &mut self,
        value: &T,
        bytes: &[u8],
        added: &mut dyn FnMut(String),
    ) {
        if self.looked_at >= LOOKED_AT {
            return;
        }
        self.looked_at += 1;
        let now = message_pack::encode(value).ok();
        let now = now.and_then(|bytes| read(&bytes));
        if let Some((then, now)) = read(bytes).zip(now) {
            compare("", &then, &now, added);
        }
    }
}

fn read(mut bytes: &[u8]) -> Option<Value> {
    rmpv::decode::read_value(&mut bytes).ok()
}

fn compare(path: &str, then: &Value, now: &Value, added: &mut dyn FnMut(String)) {
    match (then, now) {
        (Value::Map(then), Value::Map(now)) => {
            for (name, value) in now {
                let shown = match name.as_str() {
                    Some(name) => name.to_owned(),
                    None => name.to_string(),
                };
                let path = match path {
                    "" => shown,
                    _ => format!("{path}.{shown}"),
                };
                match then.iter().find(|(other, _)| other == name) {
                    Some((_, before)) => compare(&path, before, value, added),
                    None => added(path),
                }
            }
        }
        (Value::Array(then), Value::Array(now)) => {
            for (then, now) in then.iter().zip(now) {
                compare(path, then, now, added);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Serialize, Deserialize)]
    struct Then {
        a: u8,
        lines: Vec<BTreeMap<String, u8>>,
    }

    #[derive(Serialize, Deserialize)]
    struct Now {
        a: u8,
        lines: Vec<Line>,
        #[serde(default)]
        note: String,
    }

    #[derive(Serialize, Deserialize)]
    struct Line {
        x: u8,
        #[serde(default)]
        y: u8,
    }

    #[test]
    fn fields_that_were_not_there_are_noted_with_their_paths() {
        let line = |name: &str| BTreeMap::from([(name.to_owned(), 1)]);
        let bytes = message_pack::encode(&Then {
            a: 1,
            lines: vec![line("x"), line("x")],
        })
        .unwrap();
        let now: Now = message_pack::decode(&bytes).unwrap();
        let mut found = Vec::new();
        let mut defaulted = Defaulted::default();
        defaulted.note(&now, &bytes, &mut |path| found.push(path));
        assert_eq!(found, ["lines.y", "lines.y", "note"]);
        found.clear();
        let bytes = message_pack::encode(&now).unwrap();
        defaulted.note(&now, &bytes, &mut |path| found.push(path));
        assert!(found.is_empty(), "{found:?}");
    }
}
