//! Pairs with borrowed keys: what comes out is what the same program with owned keys emits, to the
//! order.

use crate::common::builder;
use crate::common::table::{ByKey, Records, Table, records};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{
    CheckpointPolicy, DStream, KeyState, Result, StreamScope, StreamingContext, Value,
};
use parking_lot::Mutex;
use std::sync::Arc;

fn lines(ssc: &StreamScope) -> DStream<String> {
    ssc.input("lines")
}

fn send<'a>(lines: impl IntoIterator<Item = &'a str>) -> [Records; 1] {
    [records::<String>("lines", lines)]
}

fn add(count: u64, state: &mut KeyState<'_, u64>) {
    state.update(state.get().copied().unwrap_or(0) + count);
}

/// Running counts of words; "-w" forgets the word w.
fn counts(lines: &DStream<String>) -> DStream<(String, u64)> {
    lines
        .key_by_ref::<str, i64>(|line, out| {
            for word in line.split_ascii_whitespace() {
                match word.strip_prefix('-') {
                    Some(gone) => out.emit(gone, i64::MIN / 1000),
                    None => out.emit(&word.to_lowercase(), 1),
                }
            }
        })
        .reduce(|total, n| *total += n)
        .update_state(
            "counts",
            |_word: &str, n, count: &mut KeyState<'_, u64>| match u64::try_from(n) {
                Ok(n) => add(n, count),
                Err(_) => drop(count.remove()),
            },
        )
        .cloned()
}

fn pairs(of: &[(&str, u64)]) -> Vec<(String, u64)> {
    of.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
}

#[test]
fn words_are_counted_and_forgotten() {
    Table::new(|ssc| ByKey(counts(&lines(ssc))))
        .batch(
            send(["a b A", "", "b the b"]),
            pairs(&[("a", 2), ("b", 3), ("the", 1)]),
        )
        .batch([], vec![])
        .batch(
            send(["a", "-b", "-unknown", "new"]),
            pairs(&[("a", 3), ("new", 1)]),
        )
        .batch(send(["b b"; 50]), pairs(&[("b", 100)]))
        .batch(send(["-a a"]), vec![])
        .batch(send(["a the"]), pairs(&[("a", 1), ("the", 2)]))
        .check();
}

/// Whether two streams are equal in a batch, in their order too; and how much there was.
fn same<T: Value + PartialEq>(one: &DStream<T>, other: &DStream<T>) -> DStream<(bool, usize)> {
    one.transform_with(other, |one, other, _| vec![(one == other, one.len())])
}

#[test]
fn borrowed_and_owned_keys_give_the_same_in_the_same_order() {
    let line = |from: u32| {
        let words = (from..from + 30).map(|n| format!("w{}", n * n % 37));
        words.collect::<Vec<_>>().join(" ")
    };
    let all = |count: u32| {
        let lines: Vec<String> = (0..count).map(|n| line(n * 7)).collect();
        [records::<String>("lines", lines)]
    };
    Table::new(|ssc| {
        let lines = lines(ssc);
        let pairs = lines.key_by_ref::<str, u64>(|line, out| {
            line.split(' ').for_each(|word| out.emit(word, 1));
        });
        let totals = pairs.reduce(|total, n| *total += n);
        let borrowed = totals.update_state("b", |_: &str, n, count: &mut KeyState<'_, u64>| {
            add(n, count);
        });
        let owned = lines
            .flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .map(|word| (word, 1_u64));
        let counted =
            owned.update_state_by_key_changed("o", |_, new: &[u64], count: &mut Option<u64>| {
                *count = Some(count.unwrap_or(0) + new.iter().sum::<u64>());
            });
        let reduced = owned.reduce_by_key(|a, b| a + b);
        (
            same(&totals.cloned(), &reduced),
            same(&borrowed.cloned(), &counted),
        )
    })
    .batch(all(1), (vec![(true, 19)], vec![(true, 19)]))
    .batch([], (vec![(true, 0)], vec![(true, 0)]))
    .batch(all(6), (vec![(true, 19)], vec![(true, 19)]))
    .check();
}

#[test]
fn bytes_and_whole_keys_are_borrowed_too_and_changes_are_lent() {
    Table::new(|ssc| {
        let lines = lines(ssc);
        let bytes = lines
            .key_by_ref::<[u8], u64>(|line, out| line.bytes().for_each(|b| out.emit(&[b], 1)))
            .reduce(|total, n| *total += n)
            .update_state("bytes", |_: &[u8], n, count: &mut KeyState<'_, u64>| {
                add(n, count)
            })
            .filter_map(|byte, count| (*count > 1).then(|| (byte[0], *count)));
        let lengths = lines
            .key_by_ref::<(usize, bool), u64>(|line, out| {
                out.emit(&(line.len(), line.starts_with('a')), 1);
            })
            .reduce(|total, n| *total += n)
            .cloned();
        (ByKey(bytes), ByKey(lengths))
    })
    .batch(
        send(["aba", "ab", "cba"]),
        (
            vec![(b'a', 4), (b'b', 3)],
            vec![((2, true), 1), ((3, true), 1), ((3, false), 1)],
        ),
    )
    .batch([], (vec![], vec![]))
    .batch(send(["c"]), (vec![(b'c', 2)], vec![((1, false), 1)]))
    .check();
}

type Rows = Arc<Mutex<Vec<(String, u64)>>>;

fn run(context: Result<StreamingContext>, lines: &[&str]) -> Result<StreamingContext> {
    let context = context?;
    context.start()?;
    for line in lines {
        let sender = context.input::<String>("lines")?;
        sender.send(&(*line).to_owned())?.wait()?;
    }
    context.run_batch()?;
    Ok(context)
}

fn collect(stream: &DStream<(String, u64)>, rows: &Rows) {
    let rows = Arc::clone(rows);
    stream.for_each_batch("out", move |_, records| *rows.lock() = records);
}

#[test]
fn floating_point_sums_depend_on_the_log_alone() {
    let sums = |workers: usize| {
        let (rows, disk) = (Rows::default(), SimDisk::new());
        let lines: Vec<String> = (0..40_u32)
            .map(|n| format!("k{} 1e{}", n % 3, n % 20))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let context = builder(&disk, workers)
            .chunk_bytes(200)
            .get_or_create(|ssc| {
                let sums = ssc
                    .input::<String>("lines")
                    .key_by_ref::<str, f64>(|line, out| {
                        let (key, value) = line.split_once(' ').unwrap();
                        out.emit(key, value.parse::<f64>().unwrap() / 3.0);
                    })
                    .reduce(|total, n| *total += n)
                    .cloned()
                    .map(|(key, sum)| (key, sum.to_bits()));
                collect(&sums, &rows);
                Ok(())
            });
        drop(run(context, &lines).unwrap());
        Arc::into_inner(rows).unwrap().into_inner()
    };
    let one = sums(1);
    assert_eq!(one.len(), 3);
    for workers in 2..5 {
        assert_eq!(sums(workers), one, "{workers} workers");
    }
}

#[test]
fn a_program_may_change_from_owned_to_borrowed_keys_and_back() {
    let (disk, rows) = (SimDisk::new(), Rows::default());
    let owned = |disk: &SimDisk| {
        let builder = builder(disk, 2).checkpoint(CheckpointPolicy::every_batches(1));
        builder.get_or_create(|ssc| {
            let words = lines(ssc).map(|line| (line, 1_u64));
            let counts = words.update_state_by_key_changed(
                "counts",
                |_, new: &[u64], count: &mut Option<u64>| {
                    *count = Some(count.unwrap_or(0) + new.iter().sum::<u64>());
                },
            );
            collect(&counts, &rows);
            Ok(())
        })
    };
    let borrowed = |disk: &SimDisk| {
        let builder = builder(disk, 1).checkpoint(CheckpointPolicy::every_batches(1));
        builder.get_or_create(|ssc| {
            collect(&counts(&lines(ssc)), &rows);
            Ok(())
        })
    };
    for life in 1..6_u64 {
        let context = match life % 2 {
            0 => run(borrowed(&disk), &["a"]).unwrap(),
            _ => run(owned(&disk), &["a"]).unwrap(),
        };
        assert_eq!(*rows.lock(), pairs(&[("a", life)]));
        drop(context);
    }
}

/// What fails the batch of one line.
fn failure(program: impl FnOnce(&DStream<String>) -> DStream<u64>) -> String {
    let disk = SimDisk::new();
    let context = builder(&disk, 2).get_or_create(|ssc| {
        program(&lines(ssc)).for_each_batch("out", |_, _| ());
        Ok(())
    });
    match run(context, &["one One"]) {
        Ok(_) => panic!("the batch was to fail"),
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            text
        }
    }
}

#[test]
fn what_goes_wrong_names_the_operator_and_the_key() {
    let words = |lines: &DStream<String>| {
        lines.key_by_ref::<str, u64>(|line, out| {
            line.split(' ')
                .for_each(|word| out.emit(&word.to_lowercase(), 1));
        })
    };
    let text = failure(|lines| {
        let reduced = words(lines).reduce(|total, n| *total += n);
        let update = |_: &str, _: u64, state: &mut KeyState<'_, u64>| {
            state.remove();
            state.update(1);
        };
        reduced
            .update_state("counts", update)
            .map(|_, count| *count)
    });
    assert!(
        text.contains("update_state \"counts\"") && text.contains("\"one\""),
        "{text}"
    );
    assert!(text.contains("after it had removed it"), "{text}");

    let text = failure(|lines| {
        let reduced = words(lines).reduce(|_, _| panic!("no sum today"));
        reduced.cloned().map(|(_, n)| n)
    });
    assert!(
        text.contains("reduce (") && text.contains("no sum today"),
        "{text}"
    );

    let text = failure(|lines| {
        let pairs = lines.key_by_ref::<str, u64>(|_, _| panic!("no key today"));
        pairs.reduce(|a, b| *a += b).cloned().map(|(_, n)| n)
    });
    assert!(
        text.contains("key_by_ref (") && text.contains("no key today"),
        "{text}"
    );
}

/// Equal without case.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Name(String);

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

#[test]
fn equal_keys_of_other_bytes_fail_the_batch() {
    let names = |lines: &DStream<String>| {
        let pairs = lines.key_by_ref::<Name, u64>(|line, out| {
            line.split(' ')
                .for_each(|word| out.emit(&Name(word.to_owned()), 1));
        });
        pairs.reduce(|a, b| *a += b)
    };
    let text = failure(|lines| names(lines).cloned().map(|(_, n)| n));
    assert!(
        text.contains("reduce (") && text.contains("is equal to a key"),
        "{text}"
    );
    let text = failure(|lines| {
        let update = |_: &Name, n: u64, state: &mut KeyState<'_, u64>| state.update(n);
        names(lines).update_state("names", update).map(|_, n| *n)
    });
    assert!(
        text.contains("reduce (") && text.contains("is equal to a key"),
        "{text}"
    );
}
