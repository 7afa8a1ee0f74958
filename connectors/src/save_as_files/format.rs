//! How records are written into files.

use highwater_engine::{BoxError, Records};
use serde::Serialize;
use std::fmt::Display;
use std::io;

/// A format of files.
pub trait FileFormat<T>: Send + Sync + 'static {
    /// What the names of the files end in, after a dot, unless the program says otherwise; empty
    /// for nothing.
    fn suffix(&self) -> &str;

    /// Writes a whole file. `out` is buffered.
    ///
    /// # Errors
    /// A record that cannot be written in this format. It stops the context, because the same batch
    /// would fail again. An error of `out` may be handed on as it is: then the file is written
    /// again later.
    fn write(&self, records: &Records<'_, T>, out: &mut dyn io::Write) -> Result<(), BoxError>;
}

/// A record that is a line of a text file: every type that has a `Display`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a line of a text file",
    label = "a line is written by the record's `Display`",
    note = "make a text of it first, as in `.map(|(word, count)| format!(\"{{word}} {{count}}\"))`, or call `save_as_files` with `Csv::new()` or `Ndjson`"
)]
pub trait TextRecord: Display {}

impl<T: Display> TextRecord for T {}

/// One record per line, by its `Display`. A record that has a line end in it takes several lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct Text;

impl<T: TextRecord> FileFormat<T> for Text {
    fn suffix(&self) -> &str {
        ""
    }

    fn write(&self, records: &Records<'_, T>, out: &mut dyn io::Write) -> Result<(), BoxError> {
        for record in records.iter() {
            writeln!(out, "{record}")?;
        }
        Ok(())
    }
}

/// One JSON value per line (NDJSON, JSON Lines). JSON has no NaN and no infinity: serde_json writes
/// `null` for them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ndjson;

impl<T: Serialize> FileFormat<T> for Ndjson {
    fn suffix(&self) -> &str {
        "ndjson"
    }

    fn write(&self, records: &Records<'_, T>, out: &mut dyn io::Write) -> Result<(), BoxError> {
        for (number, record) in (records.first()..).zip(records.iter()) {
            serde_json::to_writer(&mut *out, record).map_err(|e| of_record(number, &e))?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// One row per record, with commas, quoted where needed (RFC 4180). The names of a struct's fields
/// are the first row of each file; tuples have no names and no such row.
///
/// A record is flat: a field that is a map or a struct is an error. `None` and an empty text look
/// the same.
#[derive(Debug, Clone, Copy)]
pub struct Csv {
    header: bool,
    delimiter: u8,
}

impl Default for Csv {
    fn default() -> Self {
        Self::new()
    }
}

impl Csv {
    /// With a first row of names, and commas.
    #[must_use]
    pub fn new() -> Self {
        Self {
            header: true,
            delimiter: b',',
        }
    }

    /// Without a first row of names.
    #[must_use]
    pub fn without_header(mut self) -> Self {
        self.header = false;
        self
    }

    /// With another byte between fields, such as `b';'` or `b'\t'`.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }
}

impl<T: Serialize> FileFormat<T> for Csv {
    fn suffix(&self) -> &str {
        "csv"
    }

    fn write(&self, records: &Records<'_, T>, out: &mut dyn io::Write) -> Result<(), BoxError> {
        let mut writer = csv::WriterBuilder::new();
        let writer = writer.has_headers(self.header).delimiter(self.delimiter);
        let mut writer = writer.from_writer(out);
        for (number, record) in (records.first()..).zip(records.iter()) {
            writer
                .serialize(record)
                .map_err(|e| of_record(number, &e))?;
        }
        Ok(writer.flush()?)
    }
}

fn of_record(number: u64, error: &dyn Display) -> BoxError {
    format!("record {number} of the batch (from 0) cannot be written: {error}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Order {
        id: u64,
        to: Option<String>,
        sum: f64,
    }

    fn orders() -> Vec<Vec<Order>> {
        let order = |id, to: Option<&str>, sum| Order {
            id,
            to: to.map(str::to_owned),
            sum,
        };
        vec![
            vec![order(1, Some("a, \"b\"\nc"), 0.5)],
            vec![order(2, None, f64::MAX), order(3, Some(""), -0.0)],
        ]
    }

    fn written<T>(format: &impl FileFormat<T>, pieces: &[Vec<T>]) -> Result<String, BoxError> {
        let mut out = Vec::new();
        format.write(&Records::new(pieces, 7), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn ndjson_has_a_value_on_each_line_and_reads_back() {
        let text = written(&Ndjson, &orders()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], r#"{"id":1,"to":"a, \"b\"\nc","sum":0.5}"#);
        assert_eq!(lines.len(), 3);
        let back: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!(back["sum"].as_f64(), Some(f64::MAX));
    }

    #[test]
    fn csv_has_names_once_and_quotes_what_needs_it() {
        let text = written(&Csv::new(), &orders()).unwrap();
        let expected = "id,to,sum\n1,\"a, \"\"b\"\"\nc\",0.5\n";
        assert!(text.starts_with(expected), "{text}");
        let bare = written(&Csv::new().without_header(), &orders()).unwrap();
        assert_eq!(format!("id,to,sum\n{bare}"), text);
        let tuples = [vec![(1, "x;y"), (2, "z")]];
        let semicolons = written(&Csv::new().delimiter(b';'), &tuples).unwrap();
        assert_eq!(semicolons, "1;\"x;y\"\n2;z\n");
    }

    #[test]
    fn a_record_that_a_format_cannot_hold_is_named() {
        let nested = [vec![(1, 2)], vec![(3, 4)]];
        let nested = nested.map(|v| {
            v.into_iter()
                .map(|r| (r, vec![std::collections::BTreeMap::from([r])]))
                .collect()
        });
        let error = written::<((i32, i32), Vec<std::collections::BTreeMap<i32, i32>>)>(
            &Csv::new(),
            &nested,
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("record 7 of the batch"), "{error}");
        let tuple_keys = [vec![std::collections::BTreeMap::from([((1, 2), 3)])]];
        let error = written(&Ndjson, &tuple_keys).unwrap_err().to_string();
        assert!(
            error.contains("record 7") && error.contains("key"),
            "{error}"
        );
    }
}
