//! Tests of bodies.

use super::*;

fn records(content_type: &str, body: &str) -> Result<Vec<String>, String> {
    let format = Format::of(Some(content_type)).map_err(|r| r.reason)?;
    let records = format.records(body.as_bytes(), OnError::Refuse);
    records
        .map(|all| all.texts.into_iter().map(str::to_owned).collect())
        .map_err(|refusal| format!("{}: {}", refusal.status.as_u16(), refusal.reason))
}

#[test]
fn each_type_has_its_records() {
    for (content_type, body, expected) in [
        ("text/plain; charset=UTF-8", "a\r\n\nb", &["a", "", "b"][..]),
        ("text/plain", "\u{feff}a\n", &["a"]),
        ("application/json", "\u{feff}[1]", &["1"]),
        ("application/octet-stream", "\u{feff}", &["\u{feff}"]),
        ("text/plain", "a\n", &["a"]),
        ("application/octet-stream", "a\nb\n", &["a\nb\n"]),
        (
            "application/x-ndjson",
            "{\"a\": 1}\n\n2\n",
            &["{\"a\": 1}", "2"],
        ),
        (
            "application/json",
            " [1, {\"a\": [2]}, \"x\"]",
            &["1", "{\"a\": [2]}", "\"x\""],
        ),
        ("Application/JSON", "{\"a\": [1]} ", &["{\"a\": [1]}"]),
        ("application/json", "[[1], []]", &["[1]", "[]"]),
    ] {
        let found = records(content_type, body);
        assert_eq!(
            found.as_deref(),
            Ok(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{body}"
        );
    }
}

#[test]
fn what_is_no_record_is_refused_with_its_line() {
    for (content_type, body, expected) in [
        ("application/x-ndjson", "1\n{\n", "400: line 2: no JSON"),
        ("application/json", "[1, 2", "400: no JSON"),
        ("application/json", "1 2", "400: no JSON"),
        ("application/json", "[]", "400: the request has no record"),
        (
            "application/x-ndjson",
            "\n",
            "400: the request has no record",
        ),
        ("text/plain", "", "400: the request has no record"),
        (
            "application/xml",
            "<a/>",
            "\"application/xml\": this source takes",
        ),
        (
            "text/plain; charset=latin1",
            "a",
            "charset=latin1: this source takes UTF-8",
        ),
    ] {
        let error = records(content_type, body).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    // F74: a hundred thousand levels.
    for content_type in ["application/json", "application/x-ndjson"] {
        let deep = |close: usize| "[".repeat(100_000) + &"]".repeat(close);
        assert!(records(content_type, &deep(99_999)).is_err());
        assert_eq!(records(content_type, &deep(100_000)).unwrap().len(), 1);
    }
    let error = Format::Raw
        .records(b"a\n\xff", OnError::Skip)
        .unwrap_err()
        .reason;
    assert_eq!(error, "not UTF-8: the byte at 2, in line 2");
    let many = "\n".repeat(MAX_RECORDS + 1);
    assert!(records("text/plain", &many).unwrap_err().starts_with("413"));
}

#[test]
fn a_bad_line_is_named_and_with_skip_left_out() {
    let body = b"\xef\xbb\xbf1\n\n{\r\n\xff\n2";
    let error = Format::NdJson
        .records(body, OnError::Refuse)
        .unwrap_err()
        .reason;
    assert!(error.starts_with("line 3: no JSON"), "{error}");
    let records = Format::NdJson.records(body, OnError::Skip).unwrap();
    assert_eq!(records.texts, ["1", "2"]);
    assert_eq!(
        [0, 1].map(|at| records.place(at)),
        [Place::Line(1), Place::Line(5)]
    );
    let told = records.skipped.told();
    assert_eq!(told["count"], 2);
    assert_eq!(told["first"][0]["at"], "line 3");
    assert_eq!(told["first"][1]["reason"], "not UTF-8: the byte at 0");

    let mut records = Format::Json
        .records(b"[1, 22, 3, 44]", OnError::Skip)
        .unwrap();
    let short = |text: &str| {
        (text.len() < 2)
            .then_some(())
            .ok_or_else(|| "long".to_owned())
    };
    records.skip(short).unwrap();
    assert_eq!(records.texts, ["1", "3"]);
    let told = records.skipped.told();
    assert_eq!(
        (&told["first"][0]["at"], &told["first"][1]["at"]),
        (&"element 2".into(), &"element 4".into())
    );
    let nothing = records.skip(|_| Err("no".to_owned())).unwrap_err().reason;
    assert!(
        nothing.contains("no record that could be stored; element 2: long"),
        "{nothing}"
    );

    let many = b"x\n".repeat(500);
    let all_bad = Format::NdJson
        .records(&many, OnError::Skip)
        .unwrap_err()
        .reason;
    assert!(all_bad.contains("line 1: no JSON"), "{all_bad}");
    let many = [&many[..], b"1"].concat();
    let told = Format::NdJson
        .records(&many, OnError::Skip)
        .unwrap()
        .skipped
        .told();
    assert_eq!(
        (&told["count"], told["first"].as_array().unwrap().len()),
        (&500.into(), 100)
    );
}

#[test]
fn on_error_is_skip_or_refuse() {
    for (query, expected) in [
        (None, OnError::Refuse),
        (Some(""), OnError::Refuse),
        (Some("on_error=refuse"), OnError::Refuse),
        (Some("a=b&on_error=skip"), OnError::Skip),
    ] {
        assert_eq!(OnError::of(query).unwrap(), expected);
    }
    for query in ["on_error=", "on_error=Skip", "on_error=skip&on_error=skip"] {
        OnError::of(Some(query)).unwrap_err();
    }
}
