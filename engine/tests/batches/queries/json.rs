//! States in JSON.

use super::{Addition, add, open};
use crate::common::builder;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{AskError, Error, JsonKey, StateGuard};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
enum Place {
    Shop(u32),
    Online,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sales {
    count: u32,
    by_hour: BTreeMap<u8, u32>,
}

#[test]
fn keys_and_states_of_any_type_are_json() {
    let disk = SimDisk::new();
    let context = builder(&disk, 2)
        .get_or_create(|ssc| {
            let sold = ssc.input::<(Place, u8)>("sold");
            let sales = sold.update_state_by_key_changed(
                "sales",
                |_: &Place, hours: &[u8], sales: &mut StateGuard<Sales>| {
                    let sales = sales.get_or_insert_with(Sales::default);
                    for hour in hours {
                        sales.count += 1;
                        *sales.by_hour.entry(*hour).or_default() += 1;
                    }
                },
            );
            sales.for_each_batch("out", |_, _: Vec<(Place, Sales)>| ());
            let numbers = ssc.input::<(u64, (u8, u8))>("numbers");
            let odd = numbers.update_state_by_key_changed(
                "odd",
                |_: &u64, new: &[(u8, u8)], state: &mut StateGuard<BTreeMap<(u8, u8), u8>>| {
                    let state = state.get_or_insert_with(BTreeMap::new);
                    state.extend(new.iter().map(|pair| (*pair, 1)));
                },
            );
            odd.map(|_| ()).for_each_batch("to odd", |_, _| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let sold = context.input::<(Place, u8)>("sold").unwrap();
    for (place, hour) in [
        (Place::Shop(3), 9),
        (Place::Online, 9),
        (Place::Shop(3), 12),
    ] {
        sold.send(&(place, hour)).unwrap().wait().unwrap();
    }
    let numbers = context.input::<(u64, (u8, u8))>("numbers").unwrap();
    numbers.send(&(42, (1, 2))).unwrap().wait().unwrap();
    let batch = context.run_batch().unwrap();
    let sales = context.json_state("sales").unwrap();
    let shop = r#"{"count":2,"by_hour":{"9":1,"12":1}}"#;
    let online = r#"{"count":1,"by_hour":{"9":1}}"#;
    for (key, expected) in [
        (JsonKey::Json(r#"{"Shop":3}"#), Some(shop)),
        (JsonKey::Text(r#"{"Shop":3}"#), Some(shop)),
        (JsonKey::Text("Online"), Some(online)),
        (JsonKey::Json(r#""Online""#), Some(online)),
        (JsonKey::Json(r#"{"Shop":4}"#), None),
    ] {
        let answer = sales.get(key).unwrap();
        assert_eq!(
            (answer.value.as_deref(), answer.batch),
            (expected, Some(batch.id))
        );
    }
    let as_of = sales.as_of().unwrap();
    assert_eq!((as_of.batch, as_of.recovering), (Some(batch.id), false));
    assert_eq!(as_of, sales.get(JsonKey::Text("Online")).unwrap().map(drop));
    for (key, expected) in [
        (JsonKey::Text("Online"), r#""Online""#),
        (JsonKey::Json(r#" {"Shop" : 4}"#), r#"{"Shop":4}"#),
    ] {
        assert_eq!(sales.key(key).unwrap(), expected);
    }
    for key in [
        JsonKey::Text("Offline"),
        JsonKey::Json("Online"),
        JsonKey::Json(""),
    ] {
        for error in [sales.get(key).map(drop), sales.key(key).map(drop)] {
            let error = error.unwrap_err();
            assert!(
                matches!(error, Error::Ask(AskError::NoKey { .. })),
                "{error}"
            );
        }
    }
    let listed = sales.list("", None, 10).unwrap().value;
    let keys: Vec<&str> = listed.iter().map(|entry| &*entry.key).collect();
    assert_eq!(keys, [r#""Online""#, r#"{"Shop":3}"#]);

    // JSON has no map with such keys.
    let odd = context.json_state("odd").unwrap();
    let error = odd.get(JsonKey::Text("42")).unwrap_err();
    assert!(
        matches!(error, Error::Ask(AskError::NotJson { what: "state", .. })),
        "{error}"
    );
    assert_eq!(odd.get(JsonKey::Text("43")).unwrap().value, None);
}

#[test]
fn keys_are_listed_by_their_text_page_by_page() {
    let disk = SimDisk::new();
    let context = open(&disk, 2);
    context.start().unwrap();
    let names = ["b/2", "a/1", "b/10", "b/1", "c", "", "b/\"q\"", "b/é"];
    names.iter().for_each(|name| {
        add(&context, name, 1);
    });
    context.run_batch().unwrap();
    let sums = context.json_state("sums").unwrap();
    let mut expected: Vec<&str> = names
        .iter()
        .copied()
        .filter(|n| n.starts_with("b/"))
        .collect();
    expected.sort_unstable();
    let (mut found, mut after) = (Vec::<String>::new(), None);
    loop {
        let page = sums.list("b/", after.as_deref(), 2).unwrap().value;
        assert!(page.len() <= 2);
        let texts = page
            .iter()
            .map(|e| serde_json::from_str::<String>(&e.key).unwrap());
        found.extend(texts);
        if page.is_empty() {
            break;
        }
        after = found.last().cloned();
    }
    assert_eq!(found, expected);
    assert_eq!(sums.list("", None, 100).unwrap().value.len(), names.len());
    assert_eq!(sums.list("", None, 0).unwrap().value, []);

    let mut changes = sums.changes().unwrap();
    add(&context, "c", 9); // ten: the key is gone
    add(&context, "a/1", 2);
    context.run_batch().unwrap();
    let changed = changes.next_batch().unwrap().value;
    let changed = changed.into_iter().map(|entry| (entry.key, entry.value));
    let expected = [
        ("\"a/1\"".to_owned(), Some("3".to_owned())),
        ("\"c\"".to_owned(), None),
    ];
    assert_eq!(
        changed.collect::<BTreeMap<_, _>>(),
        BTreeMap::from(expected)
    );
    let _: Addition = (String::new(), 0);
}
