//! Standard output, whose reader may stop at any moment (`| head`), and tables.

use crate::outcome::{Failure, Result};
use crate::text;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::fmt;
use std::io::{self, BufWriter, Write};

/// Where results go.
pub struct Output {
    to: BufWriter<Box<dyn Write>>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Self {
        Self {
            to: BufWriter::new(Box::new(io::stdout())),
        }
    }

    /// A file.
    pub fn to_file(file: Box<dyn Write>) -> Self {
        Self {
            to: BufWriter::new(file),
        }
    }

    /// Text for people: one line, or several. What cannot be seen in it is escaped, whatever it
    /// comes from.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<()> {
        let text = text::printable_lines(text.as_ref());
        writeln!(self.to, "{text}").map_err(|e| failure(&e))
    }

    /// A value as one line of JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.to, value).map_err(|e| failure(&e.into()))?;
        self.to.write_all(b"\n").map_err(|e| failure(&e))
    }

    /// A value as JSON if that was asked for, or as `print` puts it.
    pub fn show<T: Serialize>(
        &mut self,
        json: bool,
        value: &T,
        print: impl FnOnce(&T, &mut Self) -> Result<()>,
    ) -> Result<()> {
        if json {
            self.json(value)
        } else {
            print(value, self)
        }
    }

    /// Hands everything on.
    pub fn flush(&mut self) -> Result<()> {
        self.to.flush().map_err(|e| failure(&e))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A failure of writing the output.
pub fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Failure::Io(format!("cannot write the output: {error}")),
    }
}

/// A message of `program` on standard error, with what cannot be seen in it escaped.
pub fn tell(program: &str, text: impl AsRef<str>) {
    eprintln!("{program}: {}", text::printable_lines(text.as_ref()));
}

/// Standard error for the library's warnings, which name directories and files: as [`tell`].
#[derive(Debug, Default)]
pub struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = text::printable_lines(&String::from_utf8_lossy(bytes));
        io::stderr().write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A row of a table: what comes from files and records keeps to its cell.
pub fn add_row<const N: usize>(table: &mut Table, cells: [String; N]) {
    table.add_row(cells.map(|cell| text::printable(&cell)));
}

/// A table with a header. Columns whose title begins with `#` hold numbers and are aligned to the
/// right.
pub fn table(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(titles.iter().map(|t| t.trim_start_matches('#')));
    for (index, title) in titles.iter().enumerate() {
        let Some(column) = table.column_mut(index) else {
            continue;
        };
        column.set_padding((0, 2));
        if title.starts_with('#') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table as text, without blanks at the ends of lines.
pub fn render(table: &Table) -> String {
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}
