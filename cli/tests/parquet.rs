//! `highwater checkpoint state --format parquet`, read back with DuckDB.
//!
//! DuckDB is a Python package in `target/duckdb`, a virtual environment that `.ci/run` makes. Where
//! it is not installed the tests say so and pass; with `HIGHWATER_REQUIRE_DUCKDB` they fail.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails, fails its test"
)]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;
#[path = "common/program.rs"]
mod program;

use common::{Ran, paths, run};
use highwater::checkpoint::{
    Batch, Checkpoints, LocalStore, Meta, Options, StateMeta, entries::append,
};
use highwater::disk::OsDisk;
use rmpv::Value as Pack;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// Prints the types of the columns, then the rows, in the order of the keys; bytes in hexadecimal.
const READ: &str = "
import duckdb, json, sys
file = sys.argv[1]
types = duckdb.sql(f\"describe select * from '{file}'\").fetchall()
print(json.dumps([row[:2] for row in types]))
rows = duckdb.sql(f\"select * from '{file}'\").fetchall()
plain = lambda value: value.hex() if isinstance(value, bytes) else value
rows = [[plain(value) for value in row] for row in rows]
rows.sort(key=lambda row: json.dumps(row[1:]))
print(json.dumps(rows))
groups = duckdb.sql(f\"select count(distinct row_group_id) from parquet_metadata('{file}')\").fetchall()
print(json.dumps(groups[0][0]))
";

struct Read {
    /// Name and type of each column.
    columns: Vec<(String, String)>,
    rows: Vec<Value>,
    row_groups: u64,
}

/// Reads a file with DuckDB; `None` if that is not installed.
fn read(file: &Path) -> Option<Read> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = root.join("target/duckdb/bin/python");
    if !python.exists() {
        let required = std::env::var_os("HIGHWATER_REQUIRE_DUCKDB").is_some();
        assert!(!required, "no DuckDB in target/duckdb");
        println!("skipped: no DuckDB in target/duckdb");
        return None;
    }
    let output = Command::new(python).args(["-c", READ]).arg(file).output();
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut next = || -> Value { lines.next().unwrap() };
    let columns = serde_json::from_value(next()).unwrap();
    let rows = next().as_array().unwrap().clone();
    Some(Read {
        columns,
        rows,
        row_groups: next().as_u64().unwrap(),
    })
}

fn state(dir: &Path, name: &str, file: &Path, more: &[&str]) -> Ran {
    let (dir, file) = (dir.to_str().unwrap(), file.to_str().unwrap());
    let args = [
        "checkpoint",
        "state",
        dir,
        name,
        "--format",
        "parquet",
        "--output",
        file,
    ];
    run(args.into_iter().chain(more.iter().copied()))
}

/// A checkpoint with one state of these entries, all in key group 3.
fn checkpoint(pairs: impl Iterator<Item = (Pack, Pack)>) -> (TempDir, PathBuf) {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("checkpoints");
    let store = Arc::new(LocalStore::new(Arc::new(OsDisk::new()), &dir));
    let mut checkpoints = Checkpoints::open(store, Options::default()).unwrap();
    let state = StateMeta {
        name: "s".to_owned(),
        kind: "update_state_by_key".to_owned(),
        codec: "msgpack-named".to_owned(),
        fingerprint: "K -> V".to_owned(),
        anew: true,
    };
    let meta = Meta {
        parent: None,
        log_id: 1,
        application: "types".to_owned(),
        created_ms: 0,
        batch: Batch { id: 1, time_ms: 0 },
        lsn: 1,
        metadata: json!({}),
        states: vec![state],
    };
    let mut writer = checkpoints.begin(meta).unwrap();
    let (mut bytes, mut entries) = (Vec::new(), 0);
    for (key, value) in pairs {
        for item in [key, value] {
            append(&mut bytes, |out| rmpv::encode::write_value(out, &item)).unwrap();
        }
        entries += 1;
    }
    writer.add_block("s", 3, entries, &bytes).unwrap();
    writer.publish().unwrap();
    (tmp, dir)
}

/// The type of the column `value`, and its values in the order of the keys.
fn values(values: &[Pack]) -> Option<(String, Vec<Value>)> {
    let pairs = values.iter().enumerate();
    let (tmp, dir) = checkpoint(pairs.map(|(at, v)| (Pack::from(at), v.clone())));
    let file = tmp.path().join("s.parquet");
    state(&dir, "s", &file, &[]).exits(0);
    let read = read(&file)?;
    let names: Vec<&str> = read.columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["key_group", "key", "value"]);
    assert_eq!(read.columns[1].1, "BIGINT");
    let values = read.rows.iter().enumerate().map(|(at, row)| {
        assert_eq!((&row[0], &row[1]), (&3.into(), &at.into()));
        row[2].clone()
    });
    Some((read.columns[2].1.clone(), values.collect()))
}

#[test]
fn columns_have_types() {
    let bytes = |bytes: &[u8]| Pack::Binary(bytes.to_vec());
    let list = Pack::Array(vec![1.into(), "x".into(), Pack::Nil]);
    let cases: [(Vec<Pack>, &str, Value); 11] = [
        (
            vec![true.into(), Pack::Nil, false.into()],
            "BOOLEAN",
            json!([true, null, false]),
        ),
        (
            vec![1.into(), i64::MIN.into(), i64::MAX.into()],
            "BIGINT",
            json!([1, i64::MIN, i64::MAX]),
        ),
        (
            vec![1.into(), u64::MAX.into()],
            "UBIGINT",
            json!([1, u64::MAX]),
        ),
        (
            vec![(-1).into(), u64::MAX.into()],
            "VARCHAR",
            json!(["-1", u64::MAX.to_string()]),
        ),
        (
            vec![1.5.into(), Pack::F32(-0.25)],
            "DOUBLE",
            json!([1.5, -0.25]),
        ),
        (
            vec!["".into(), "ü\"\n".into()],
            "VARCHAR",
            json!(["", "ü\"\n"]),
        ),
        (
            vec![bytes(&[]), bytes(&[0, 255])],
            "BLOB",
            json!(["", "00ff"]),
        ),
        (vec![list], "VARCHAR", json!(["[1,\"x\",null]"])),
        (vec!["x".into(), 1.into()], "VARCHAR", json!(["\"x\"", "1"])),
        (vec![Pack::Nil], "VARCHAR", json!([null])),
        (
            vec![Pack::Map(vec![(1.into(), 2.into())])],
            "VARCHAR",
            json!(["{\"1\":2}"]),
        ),
    ];
    for (given, expected, read) in cases {
        let Some(found) = values(&given) else {
            return;
        };
        assert_eq!(
            found,
            (expected.to_owned(), read.as_array().unwrap().clone())
        );
    }
}

/// The states of an engine: structs, lists, nothing, and the time of a last visit.
#[test]
fn the_state_of_an_engine_comes_back() {
    let (tmp, dir) = program::engine(1);
    let file = tmp.path().join("stats.parquet");
    state(&dir, "stats", &file, &[]).exits(0);
    let timed = tmp.path().join("timed.parquet");
    state(&dir, "timed", &timed, &["--key", "new"]).exits(0);
    let refused = state(&dir, "timed", &timed, &[]).exits(2);
    assert!(refused.err.contains("it exists"), "{}", refused.err);
    let missing = state(
        &dir,
        "timed",
        &tmp.path().join("none"),
        &["--key", "absent"],
    )
    .exits(1);
    assert!(missing.err.contains("has no key absent"), "{}", missing.err);
    let left = paths(tmp.path());
    assert_eq!(left.len(), 3, "{left:?}");
    let Some(found) = read(&file) else { return };
    let columns: Vec<(&str, &str)> = found
        .columns
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    let expected = [
        ("key_group", "BIGINT"),
        ("key.city", "VARCHAR"),
        ("key.zone", "BIGINT"),
        ("value.total", "BIGINT"),
        ("value.mean", "DOUBLE"),
        ("value.is_open", "BOOLEAN"),
        ("value.tags", "VARCHAR"),
        ("value.note", "VARCHAR"),
    ];
    assert_eq!(columns, expected);
    let json = run([
        "checkpoint",
        "state",
        dir.to_str().unwrap(),
        "stats",
        "--format",
        "json",
    ]);
    let mut expected: Vec<Value> = json
        .exits(0)
        .json()
        .iter()
        .map(|entry| {
            let (key, value) = (&entry["key"], &entry["value"]);
            let of = |name: &str| value[name].clone();
            json!([
                entry["key_group"],
                key["city"],
                key["zone"],
                of("total"),
                of("mean"),
                of("is_open"),
                of("tags").to_string(),
                of("note"),
            ])
        })
        .collect();
    expected.sort_by_key(|row| row[1].to_string());
    assert_eq!(found.rows, expected);
    let found = read(&timed).unwrap();
    assert_eq!(
        found.columns[3],
        ("last_visit_ms".to_owned(), "BIGINT".to_owned())
    );
    assert!(found.rows.len() == 1 && found.rows[0][3].as_u64() > Some(program::START_MS));
}

/// More rows than a group has, and none.
#[test]
fn rows_are_written_in_groups() {
    for rows in [0_u64, 1, 250_000] {
        let (tmp, dir) = checkpoint((0..rows).map(|n| (n.into(), (n * 2).into())));
        let file = tmp.path().join("s.parquet");
        state(&dir, "s", &file, &[]).exits(0);
        let Some(found) = read(&file) else { return };
        assert_eq!(found.rows.len() as u64, rows);
        assert_eq!(found.row_groups, rows.div_ceil(100_000));
        let sum: u64 = found.rows.iter().map(|row| row[2].as_u64().unwrap()).sum();
        assert_eq!(sum, rows * rows.saturating_sub(1));
    }
}
