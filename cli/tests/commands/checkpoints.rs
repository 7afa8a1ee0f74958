//! `highwater checkpoint state|diff|verify|prune`, on what an engine wrote, and on what became of
//! it.

use crate::common::{Ran, damage, paths, run, write};
use crate::program;
use crate::program::{START_MS, engine};
use highwater::StreamingContext;
use highwater::checkpoint::entries::append;
use highwater::checkpoint::{Batch, Checkpoints, LocalStore, Meta, Options, StateMeta};
use highwater::disk::{Access, Disk, OsDisk};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

fn tool(what: &str, dir: &Path, more: &[&str]) -> Ran {
    let dir = dir.to_str().unwrap();
    run(["checkpoint", what, dir]
        .into_iter()
        .chain(more.iter().copied()))
}

fn number(dir: &Path, at: usize) -> String {
    let list = &tool("list", dir, &["--json"]).json()[0];
    list[at]["number"].to_string()
}

fn read(path: &Path) -> String {
    let file = OsDisk::new().open(path, Access::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Copies a directory of files and directories.
fn copy(from: &Path, to: &Path) {
    let disk = OsDisk::new();
    disk.create_dir_all(to).unwrap();
    for entry in disk.list(from).unwrap() {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        match from.is_dir() {
            true => copy(&from, &to),
            false => {
                let file = disk.open(&from, Access::Read).unwrap();
                let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
                file.read_exact_at(&mut bytes, 0).unwrap();
                write(&to, &bytes);
            }
        }
    }
}

/// Every file below a directory with its bytes, to see that none was changed.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for path in paths(dir) {
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            let file = OsDisk::new().open(&path, Access::Read).unwrap();
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            all.insert(path, bytes);
        }
    }
    all
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn entries_are_printed_in_every_format() {
    let (tmp, dir) = engine(1);
    let text = tool("state", &dir, &["counts"]).exits(0);
    let expected = [
        "\"1\"\t6",
        "\"be\"\t3",
        "\"new\"\t8",
        "\"not\"\t4",
        "\"or\"\t3",
        "\"to\"\t6",
    ];
    assert_eq!(sorted(&text.out), expected);
    let json = tool("state", &dir, &["counts", "--format", "json"])
        .exits(0)
        .json();
    let entry = json.iter().find(|entry| entry["key"] == "new").unwrap();
    assert_eq!(entry["value"], 8);
    assert!(entry["key_group"].is_u64() && entry.get("last_visit_ms").is_none());
    let csv = tool("state", &dir, &["counts", "--format", "csv"])
        .exits(0)
        .out;
    assert_eq!(csv.lines().next(), Some("key_group,key,value"));
    let group = &entry["key_group"];
    assert!(
        csv.lines().any(|line| line == format!("{group},new,8")),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 7);
    // Structs have a column for each field; lists are JSON.
    let csv = tool("state", &dir, &["stats", "--format", "csv"])
        .exits(0)
        .out;
    let header =
        "key_group,key.city,key.zone,value.total,value.mean,value.is_open,value.tags,value.note";
    assert_eq!(csv.lines().next(), Some(header));
    let row = csv.lines().find(|line| line.contains(",new,")).unwrap();
    let expected = r#",new,3,8,0.5,true,"[""new""]","even, ""quoted""""#;
    assert!(row.ends_with(expected), "{row}");
    let row = csv.lines().find(|line| line.contains(",or,")).unwrap();
    assert!(row.ends_with(r#",or,2,3,0.5,false,"[""or""]","#), "{row}");
    // Into a file: the same.
    for format in ["text", "json", "csv"] {
        let file = tmp.path().join(format);
        let args = ["stats", "--format", format];
        let printed = tool("state", &dir, &args).exits(0).out;
        let output = ["--output", file.to_str().unwrap()];
        let all = [&args[..], &output].concat();
        assert_eq!(tool("state", &dir, &all).exits(0).out, "");
        assert_eq!(read(&file), printed);
        let refused = tool("state", &dir, &all).exits(2);
        assert!(refused.err.contains("it exists"), "{}", refused.err);
        assert_eq!(read(&file), printed);
    }
    let left = paths(tmp.path());
    assert!(
        !left
            .iter()
            .any(|path| path.to_str().unwrap().contains("partial")),
        "{left:?}"
    );
    let limited = tool("state", &dir, &["counts", "--limit", "2"])
        .exits(0)
        .out;
    assert!(
        text.out.starts_with(&limited) && limited.lines().count() == 2,
        "{limited}"
    );
    for nothing in ["text", "json"] {
        let none = tool(
            "state",
            &dir,
            &["counts", "--limit", "0", "--format", nothing],
        );
        assert_eq!(none.exits(0).out, "");
    }
    let missing = tool("state", &dir, &["nothing"]).exits(2);
    assert!(
        missing.err.contains("it has: counts, timed, stats, in"),
        "{}",
        missing.err
    );
    let older = tool("state", &dir, &["counts", "--number", &number(&dir, 1)])
        .exits(0)
        .out;
    assert!(
        older.contains("\"gone\"\t7") && !older.contains("new"),
        "{older}"
    );
}

/// The time of a key's last visit is in the bytes of the value, and was shown as base64.
#[test]
fn the_time_of_a_last_visit_is_a_field_of_its_own() {
    let (_tmp, dir) = engine(1);
    let json = tool("state", &dir, &["timed", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(json.len(), 7);
    for entry in &json {
        let ms = entry["last_visit_ms"].as_u64().unwrap();
        assert!((START_MS..START_MS + 100_000).contains(&ms), "{entry}");
        assert!(entry["value"].is_i64(), "{entry}");
    }
    let text = tool("state", &dir, &["timed", "--key", "new"]).exits(0).out;
    assert!(
        text.starts_with(&format!("\"new\"\t8\tlast_visit_ms={}", START_MS / 100_000)),
        "{text}"
    );
    let csv = tool("state", &dir, &["timed", "--format", "csv", "--key", "new"])
        .exits(0)
        .out;
    assert!(
        csv.starts_with("key_group,key,value,last_visit_ms\n"),
        "{csv}"
    );
}

#[test]
fn a_key_is_found_as_json_and_as_text() {
    let (_tmp, dir) = engine(1);
    for (state, key, expected) in [
        ("counts", "be", "\"be\"\t3\n"),
        ("counts", "\"be\"", "\"be\"\t3\n"),
        ("counts", "1", "\"1\"\t6\n"),
        ("counts", "\"1\"", "\"1\"\t6\n"),
        (
            "stats",
            r#"{"zone": 2, "city": "or"}"#,
            "{\"city\":\"or\",\"zone\":2}\t",
        ),
    ] {
        let found = tool("state", &dir, &[state, "--key", key]).exits(0).out;
        assert!(
            found.starts_with(expected) && found.lines().count() == 1,
            "{key}: {found}"
        );
    }
    for format in ["text", "json", "csv"] {
        let args = ["counts", "--format", format, "--key", "absent"];
        let missing = tool("state", &dir, &args).exits(1);
        let number = number(&dir, 0);
        let told = format!("state \"counts\" of checkpoint {number} has no key absent");
        assert!(missing.err.contains(&told), "{}", missing.err);
    }
    let json = tool("state", &dir, &["counts", "--key", "gone"]).exits(1);
    assert_eq!(json.out, "");
}

#[test]
fn parquet_needs_a_file_and_a_feature() {
    let (tmp, dir) = engine(1);
    let file = tmp.path().join("state.parquet");
    let args = ["counts", "--format", "parquet"];
    let printed = tool("state", &dir, &args).exits(2);
    if cfg!(feature = "parquet") {
        assert!(
            printed.err.contains("needs --output FILE"),
            "{}",
            printed.err
        );
        return;
    }
    let output = ["--output", file.to_str().unwrap()];
    let written = tool("state", &dir, &[&args[..], &output].concat()).exits(2);
    for ran in [printed, written] {
        assert!(ran.err.contains("--features parquet"), "{}", ran.err);
    }
    assert!(!file.exists());
}

#[test]
fn entries_of_a_damaged_checkpoint_are_read_up_to_the_damage() {
    let (tmp, dir) = engine(1);
    let newest = number(&dir, 0);
    let prefix = format!("state-{:0>10}", newest);
    let files = paths(&dir.join("checkpoints"));
    let file = files
        .iter()
        .find(|p| p.to_str().unwrap().contains(&prefix))
        .unwrap();
    damage(file, 70);
    let output = tmp.path().join("out");
    let args = [
        "counts",
        "--number",
        &newest,
        "--output",
        output.to_str().unwrap(),
    ];
    let broken = tool("state", &dir, &args).exits(1);
    assert!(
        broken.err.contains("its checksum does not match"),
        "{}",
        broken.err
    );
    assert!(!output.exists() && !tmp.path().join("out.partial").exists());
}

#[test]
fn checkpoints_are_compared_key_by_key() {
    let (_tmp, dir) = engine(1);
    let (new, old) = (number(&dir, 0), number(&dir, 1));
    let same = tool("diff", &dir, &[&new, &new]).exits(0);
    assert!(
        same.out.contains("equal") && !same.out.contains("different"),
        "{}",
        same.out
    );
    let json = &tool("diff", &dir, &[&new, &new, "--json"]).exits(0).json()[0];
    assert_eq!(
        (&json["equal"], &json["same_key_groups"]),
        (&true.into(), &true.into())
    );

    let json = &tool("diff", &dir, &[&old, &new, "--json"]).exits(1).json()[0];
    let states = json["states"].as_array().unwrap();
    let counts = states.iter().find(|s| s["name"] == "counts").unwrap();
    let numbers = ["added", "removed", "changed", "same"].map(|name| counts[name].clone());
    assert_eq!(numbers, [1, 1, 1, 4].map(Value::from));
    let mut keys: Vec<(&str, &str, Option<&Value>, Option<&Value>)> = Vec::new();
    for key in counts["keys"].as_array().unwrap() {
        let value = |side: &str| key.get(side).map(|side| &side["value"]);
        let (change, name) = (key["change"].as_str(), key["key"].as_str());
        keys.push((
            change.unwrap(),
            name.unwrap(),
            value("before"),
            value("after"),
        ));
    }
    keys.sort_by_key(|(change, ..)| *change);
    let values = [json!(8), json!(2), json!(3), json!(7)];
    let expected = vec![
        ("added", "new", None, Some(&values[0])),
        ("changed", "be", Some(&values[1]), Some(&values[2])),
        ("removed", "gone", Some(&values[3]), None),
    ];
    assert_eq!(keys, expected);
    let groups: Vec<u64> = counts["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| k["key_group"].as_u64().unwrap())
        .collect();
    assert!(groups.is_sorted(), "{groups:?}");

    let text = tool("diff", &dir, &[&old, &new, "--state", "counts"])
        .exits(1)
        .out;
    for line in ["+ \"new\"\t8", "~ \"be\"\t2 -> 3", "- \"gone\"\t7"] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert!(!text.contains("stats"), "{text}");
    let limited = tool(
        "diff",
        &dir,
        &[&old, &new, "--state", "counts", "--limit", "1"],
    );
    let limited = limited.exits(1).out;
    assert!(limited.contains("and 2 more (--limit)"), "{limited}");
    // Only the time of the last visit differs where a record has come that adds nothing.
    let timed = tool("diff", &dir, &[&old, &new, "--state", "timed"])
        .exits(1)
        .out;
    assert!(timed.contains("last visit"), "{timed}");

    let missing = tool("diff", &dir, &["77", &new]).exits(2);
    assert!(
        missing.err.contains("there is no checkpoint 77"),
        "{}",
        missing.err
    );
    let missing = tool("diff", &dir, &[&old, &new, "--state", "none"]).exits(2);
    assert!(
        missing
            .err
            .contains("neither checkpoint has a state \"none\""),
        "{}",
        missing.err
    );
}

/// Another directory, whose keys are hashed otherwise: every key in another key group, maybe.
#[test]
fn checkpoints_of_two_directories_are_compared_wherever_their_keys_are() {
    let (tmp, dir) = engine(1);
    let (_other_tmp, other) = engine(2);
    let newest = number(&dir, 0);
    let with = ["--with", other.to_str().unwrap()];
    let args = [&[newest.as_str(), &newest][..], &with].concat();
    for state in ["counts", "stats", "timed"] {
        let ran = tool("diff", &dir, &[&args[..], &["--state", state]].concat()).exits(0);
        assert!(ran.out.contains("key groups differ"), "{}", ran.out);
    }
    let placed = |dir: &Path| {
        let all = tool("state", dir, &["counts", "--format", "json"]).json();
        let place = |e: &Value| (e["key"].to_string(), e["key_group"].clone());
        all.iter().map(place).collect::<BTreeMap<_, _>>()
    };
    assert_ne!(placed(&dir), placed(&other), "the seed decides");
    // A copy of the same directory is compared group by group.
    let twin = tmp.path().join("twin");
    copy(&dir, &twin);
    let with = ["--with", twin.to_str().unwrap()];
    let url = format!("file://{}", twin.join("checkpoints").display());
    for with in [with, ["--with", &url]] {
        let ran = tool(
            "diff",
            &dir,
            &[&[newest.as_str(), &newest][..], &with].concat(),
        )
        .exits(0);
        assert!(!ran.out.contains("key groups differ"), "{}", ran.out);
    }
}

fn verify(dir: &Path) -> Ran {
    tool("verify", dir, &[])
}

#[test]
fn a_sound_directory_verifies_and_what_is_left_over_is_told() {
    let (_tmp, dir) = engine(1);
    let text = verify(&dir).exits(0).out;
    assert!(text.starts_with("ok: 2 checkpoints, "), "{text}");
    let place = dir.join("checkpoints");
    write(
        &place.join("state-0000000001-00000000000000aa-00000.hws"),
        b"x",
    );
    write(&place.join("manifest-0000000009.json.0.tmp"), b"x");
    let before = contents(&dir);
    let text = verify(&dir).exits(0).out;
    for line in [
        "left over: manifest-0000000009.json.0.tmp (1 B): being written",
        "left over: state-0000000001-00000000000000aa-00000.hws (1 B): no manifest names it",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let json = &tool("verify", &dir, &["--json"]).exits(0).json()[0];
    assert_eq!(json["ok"], true);
    assert_eq!(json["leftovers"].as_array().unwrap().len(), 2);
    assert_eq!(json["checkpoints"].as_array().unwrap().len(), 2);
    assert_eq!(contents(&dir), before);
    let url = PathBuf::from(format!("file://{}", place.display()));
    assert_eq!(
        tool("verify", &url, &["--json"]).exits(0).json()[0]["blocks"],
        json["blocks"]
    );
}

/// F55, F56: a byte of every file.
#[test]
fn damage_is_told_with_its_file() {
    let (tmp, dir) = engine(1);
    for (at, path) in paths(&dir.join("checkpoints")).into_iter().enumerate() {
        let twin = tmp.path().join(format!("twin {at}"));
        copy(&dir, &twin);
        let name = path.file_name().unwrap().to_str().unwrap();
        damage(&twin.join("checkpoints").join(name), 100);
        let text = verify(&twin).exits(1).out;
        assert!(text.contains(&format!("file    {name}")), "{name}: {text}");
        assert!(
            text.contains("next    restore") && text.contains("DAMAGED: "),
            "{text}"
        );
        let json = &tool("verify", &twin, &["--json"]).exits(1).json()[0];
        assert_eq!(json["ok"], false);
        let findings = json["checkpoints"].as_array().unwrap().iter();
        let files: Vec<&Value> = findings
            .flat_map(|c| c["findings"].as_array().unwrap())
            .map(|finding| &finding["file"])
            .collect();
        assert!(files.contains(&&Value::from(name)), "{name}: {json}");
    }
}

/// F62: checkpoints beside a log that is not theirs, or that has lost an end.
#[test]
fn checkpoints_that_do_not_fit_the_log_are_found() {
    let (tmp, dir) = engine(1);
    let (_other_tmp, other) = engine(2);
    let mixed = tmp.path().join("mixed");
    copy(&dir.join("checkpoints"), &mixed.join("checkpoints"));
    copy(&other.join("log"), &mixed.join("log"));
    let text = verify(&mixed).exits(1).out;
    assert!(
        text.contains("belongs to log") && text.contains("put back the log"),
        "{text}"
    );
    let alone = tmp.path().join("alone").join("checkpoints");
    copy(&dir.join("checkpoints"), &alone);
    assert!(verify(&alone).exits(0).out.starts_with("ok: 2"));
    // A log of the same identity that ends before.
    let young = tmp.path().join("young");
    let context = program::open(&young, 1, true).unwrap();
    drop(context);
    copy(&young, &tmp.path().join("cut"));
    program::run(&program::open(&young, 1, true).unwrap(), &[&[("to", 1)]]);
    let cut = tmp.path().join("cut");
    let gone = cut.join("checkpoints");
    if gone.exists() {
        OsDisk::new()
            .rename(&gone, &tmp.path().join("away"))
            .unwrap();
    }
    copy(&young.join("checkpoints"), &gone);
    let text = verify(&cut).exits(1).out;
    assert!(text.contains("but the log next to it ends"), "{text}");
    let nothing = tmp.path().join("nothing");
    OsDisk::new().create_dir_all(&nothing).unwrap();
    assert!(
        verify(&nothing)
            .exits(3)
            .err
            .contains("holds no checkpoints")
    );
}

#[test]
fn the_newest_are_written_elsewhere_and_nothing_is_changed() {
    let (tmp, dir) = engine(1);
    let place = dir.join("checkpoints");
    write(
        &place.join("state-0000000001-00000000000000aa-00000.hws"),
        b"left",
    );
    let before = contents(&dir);
    let text = tool("prune", &dir, &[]).exits(0).out;
    let (new, old) = (number(&dir, 0), number(&dir, 1));
    assert!(
        text.contains(&format!("kept        checkpoints {old}, {new}: ")),
        "{text}"
    );
    assert!(
        text.contains("not needed  checkpoints -: 1 files, 4 B"),
        "{text}"
    );
    assert!(
        text.contains("  state-0000000001-00000000000000aa-00000.hws  4 B"),
        "{text}"
    );
    let to = tmp.path().join("new");
    let output = ["--output", to.to_str().unwrap()];
    let args = [&["--keep", "1", "--json"][..], &output].concat();
    let json = &tool("prune", &dir, &args).exits(0).json()[0];
    assert_eq!(json["kept"], json!([new.parse::<u64>().unwrap()]));
    assert_eq!(json["not_kept"], json!([old.parse::<u64>().unwrap()]));
    assert_eq!(json["output"], to.to_str().unwrap());
    assert_eq!(contents(&dir), before);
    let written = contents(&to);
    let names: Vec<Value> = written
        .keys()
        .map(|path| path.file_name().unwrap().to_str().unwrap().into())
        .collect();
    let needed: Vec<Value> = json["needed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["name"].clone())
        .collect();
    assert_eq!(names, needed);
    for (path, bytes) in &written {
        assert_eq!(
            before.get(&place.join(path.file_name().unwrap())),
            Some(bytes)
        );
    }
    assert!(verify(&to).exits(0).out.starts_with("ok: 1 checkpoints"));
    // It is not written twice, nor into what is read, nor elsewhere than into a directory.
    for (output, told) in [
        (to.to_str().unwrap(), "not empty"),
        (place.to_str().unwrap(), "not empty"),
        (place.join("in").to_str().unwrap(), "inside"),
        ("s3://bucket/prefix", "only a directory"),
    ] {
        let refused = tool("prune", &dir, &["--output", output]).exits(2);
        assert!(refused.err.contains(told), "{output}: {}", refused.err);
    }
    assert_eq!(contents(&dir), before);
    // The engine starts from it.
    let disk = OsDisk::new();
    disk.rename(&place, &tmp.path().join("old")).unwrap();
    disk.rename(&to, &place).unwrap();
    let context = program::open(&dir, 1, true).unwrap();
    program::run(&context, &[&[("to", 1)]]);
    assert!(verify(&dir).exits(0).out.starts_with("ok: 2"));
    let found = tool("state", &dir, &["counts", "--key", "to"]).exits(0).out;
    assert_eq!(found, "\"to\"\t7\n");
}

/// F55: a damaged one does not count, and is not written.
#[test]
fn damaged_checkpoints_are_not_kept() {
    let (tmp, dir) = engine(1);
    let (new, old) = (number(&dir, 0), number(&dir, 1));
    let manifest = format!("manifest-{new:0>10}.json");
    damage(&dir.join("checkpoints").join(manifest), 100);
    let to = tmp.path().join("new");
    let args = ["--json", "--output", to.to_str().unwrap()];
    let json = &tool("prune", &dir, &args).exits(0).json()[0];
    assert_eq!(json["kept"], json!([old.parse::<u64>().unwrap()]));
    assert!(verify(&to).exits(0).out.starts_with("ok: 1"));
    let manifest = format!("manifest-{old:0>10}.json");
    damage(&dir.join("checkpoints").join(manifest), 100);
    let none = tool("prune", &dir, &[]).exits(1);
    assert!(none.err.contains("no valid checkpoint"), "{}", none.err);
}

/// A checkpoint whose only entry has these bytes.
fn with_bytes(dir: &Path, key: &[u8], value: &[u8]) {
    let store = Arc::new(LocalStore::new(Arc::new(OsDisk::new()), dir));
    let mut checkpoints = Checkpoints::open(store, Options::default()).unwrap();
    let meta = Meta {
        parent: None,
        log_id: 1,
        application: "bytes".to_owned(),
        created_ms: 0,
        batch: Batch { id: 1, time_ms: 0 },
        lsn: 1,
        metadata: json!({}),
        states: vec![StateMeta {
            name: "s".to_owned(),
            kind: "k".to_owned(),
            codec: "c".to_owned(),
            fingerprint: "f".to_owned(),
            anew: true,
        }],
    };
    let mut writer = checkpoints.begin(meta).unwrap();
    let mut bytes = Vec::new();
    for item in [key, value] {
        append(&mut bytes, |out| {
            out.extend_from_slice(item);
            Ok::<_, String>(())
        })
        .unwrap();
    }
    writer.add_block("s", 3, 1, &bytes).unwrap();
    writer.publish().unwrap();
}

/// What is no MessagePack is shown, counted, and found.
#[test]
fn bytes_that_mean_nothing_are_told() {
    let tmp = TempDir::new().unwrap();
    for (at, (key, value, part)) in [
        (&[0x81][..], &[0x01][..], "key"),
        (&[0x01], &[0x01, 0x02], "value"),
        (&[0x01], &[], "value"),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = tmp.path().join(at.to_string());
        with_bytes(&dir, key, value);
        let text = verify(&dir).exits(1).out;
        let told = format!("state \"s\", key group 3: the {part} of entry 0: it is no MessagePack");
        assert!(text.contains(&told), "{text}");
        let shown = tool("state", &dir, &["s"]).exits(0);
        assert!(shown.out.contains("\"base64:"), "{}", shown.out);
        assert!(
            shown.err.contains("1 keys or values are no MessagePack"),
            "{}",
            shown.err
        );
    }
}

/// A `HashMap` is written in another order by each process.
#[test]
fn encodings_of_the_same_value_are_equal() {
    let tmp = TempDir::new().unwrap();
    let (first, second, third) = (
        tmp.path().join("1"),
        tmp.path().join("2"),
        tmp.path().join("3"),
    );
    // {"a": 1, "b": 2} under the key 1.
    with_bytes(&first, &[0x01], &[0x82, 0xa1, b'a', 0x01, 0xa1, b'b', 0x02]);
    with_bytes(
        &second,
        &[0xcc, 0x01],
        &[0x82, 0xa1, b'b', 0x02, 0xa1, b'a', 0xcc, 0x01],
    );
    with_bytes(&third, &[0x01], &[0x82, 0xa1, b'b', 0x01, 0xa1, b'a', 0x02]);
    let compare = |with: &Path| {
        tool(
            "diff",
            &first,
            &["1", "1", "--with", with.to_str().unwrap()],
        )
    };
    assert!(compare(&second).exits(0).out.contains("equal"));
    let text = compare(&third).exits(1).out;
    assert!(text.contains("~ 1\t{\"a\":1,\"b\":2} -> {"), "{text}");
}

/// Checkpoints of the first version, with their tables of producers.
#[test]
fn checkpoints_of_version_1_are_read_too() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let dir = golden.join("tests/golden/v1");
    let before = contents(&dir);
    assert!(
        verify(&dir)
            .exits(0)
            .out
            .starts_with("ok: 2 checkpoints, 18 blocks")
    );
    let producers = tool("state", &dir, &["lines"]).exits(0).out;
    assert_eq!(producers, "\"golden\"\t[3,4848]\n");
    let text = tool("diff", &dir, &["1", "2", "--state", "lines"])
        .exits(1)
        .out;
    assert!(
        text.contains("~ \"golden\"\t[1,4416] -> [3,4848]"),
        "{text}"
    );
    let to = TempDir::new().unwrap();
    let output = ["counts", "--output", to.path().to_str().unwrap()];
    let refused = tool("drop-state", &dir, &output).exits(1);
    assert!(
        refused.err.contains("start the engine once"),
        "{}",
        refused.err
    );
    assert_eq!((paths(to.path()), contents(&dir)), (vec![], before));
}

/// Depth, bytes and batches of what a recovery would do, from the checkpoints and the log alone.
#[test]
fn a_lineage_is_what_the_log_has_after_each_checkpoint() {
    let (tmp, dir) = engine(1);
    let rows = || {
        let rows = tool("lineage", &dir, &["--json"]).exits(0).json().remove(0);
        let rows = rows.as_array().unwrap().clone();
        assert_eq!(rows.len(), 2);
        rows
    };
    let before = rows();
    assert_eq!(before[0]["depth"], 0);
    assert_eq!(
        (&before[0]["recovery"], &before[1]["recovery"]),
        (&json!(true), &json!(false))
    );
    let batch = |row: &Value| row["batch"].as_u64().unwrap();
    assert_eq!(before[1]["depth"], batch(&before[0]) - batch(&before[1]));
    // The clock of the program stands still, so nothing takes time.
    assert_eq!(before[0]["load_ms"], 0);
    assert_eq!(before[0]["estimated_recovery_ms"], 0);
    let context = program::open(&dir, 1, true).unwrap();
    context.start().unwrap();
    for _ in 0..3 {
        context.run_batch().unwrap();
    }
    let after = rows();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            after["batch"], before["batch"],
            "there is no newer checkpoint"
        );
        assert_eq!(
            after["depth"].as_u64(),
            before["depth"].as_u64().map(|depth| depth + 3)
        );
        assert!(after["bytes_to_replay"].as_u64() > before["bytes_to_replay"].as_u64());
    }
    let ran = tool("lineage", &dir, &[]).exits(0);
    assert!(ran.out.contains("recovery takes it"), "{}", ran.out);
    assert!(ran.out.contains("fallback"), "{}", ran.out);
    let moved = tmp.path().join("alone/checkpoints");
    copy(&dir.join("checkpoints"), &moved);
    let ran = tool("lineage", &moved, &[]).exits(2);
    assert!(
        ran.err.contains("has no log next to its checkpoints"),
        "{}",
        ran.err
    );
}

/// After the loss of a log was accepted the checkpoints of that one lie beside those of the new
/// one. That is no damage.
#[test]
fn checkpoints_of_a_log_that_is_gone_are_told_apart() {
    let (_tmp, dir) = engine(1);
    OsDisk::new()
        .rename(&dir.join("log"), &dir.join("lost"))
        .unwrap();
    let number: u64 = number(&dir, 0).parse().unwrap();
    let builder = StreamingContext::builder(&dir).accept_loss(number);
    let context = program::build(builder, 2, true).unwrap();
    let rows = tool("list", &dir, &["--json"]).exits(0).json().remove(0);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 3);
    let told = |row: &Value| {
        (
            row["valid"].clone(),
            row["of_a_lost_log"].clone(),
            row["recovery"].clone(),
        )
    };
    assert_eq!(told(&rows[0]), (json!(true), json!(false), json!(true)));
    assert_eq!(told(&rows[1]), (json!(true), json!(true), json!(false)));
    let ran = tool("list", &dir, &[]).exits(0);
    assert!(
        ran.out.contains("valid, of a log that is gone"),
        "{}",
        ran.out
    );
    tool("verify", &dir, &[]).exits(0);
    let lineage = tool("lineage", &dir, &["--json"]).exits(0).json().remove(0);
    assert_eq!(lineage.as_array().unwrap().len(), 1);
    drop(context);
    // A start would not fall back to them.
    let newest = rows[0]["number"].as_u64().unwrap();
    let files = paths(&dir.join("checkpoints")).into_iter();
    let mut of_newest =
        files.filter(|p| p.to_str().unwrap().contains(&format!("state-{newest:010}")));
    damage(&of_newest.next().unwrap(), 80);
    let ran = tool("list", &dir, &[]).exits(1);
    assert!(ran.out.contains("no checkpoint is usable"), "{}", ran.out);
    let refused = program::build(StreamingContext::builder(&dir), 2, true)
        .map(drop)
        .unwrap_err();
    assert!(refused.to_string().contains("belongs to log"), "{refused}");
}
