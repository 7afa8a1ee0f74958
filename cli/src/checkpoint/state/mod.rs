//! `highwater checkpoint state`: the entries of a state.
//!
//! | file | holds |
//! |---|---|
//! | `selection` | which entries are meant |
//! | `lines` | an entry per line: text, JSON |
//! | `columns` | entries as rows of a table: which columns there are, and of what type |
//! | `as_csv`, `as_parquet` | such a table in a file |
//! | `new_file` | the file that is written |

mod as_csv;
#[cfg(feature = "parquet")]
mod as_parquet;
mod columns;
mod lines;
mod new_file;
mod selection;

use crate::args::{StateArgs, StateFormat};
use crate::checkpoint::choice::{Chosen, choose, choose_state};
use crate::checkpoint::state::columns::Columns;
use crate::checkpoint::state::new_file::NewFile;
use crate::checkpoint::state::selection::{Selection, Told};
use crate::checkpoint::store::Found;
use crate::message::tell;
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::Output;

/// Runs the command.
pub(crate) fn state(args: &StateArgs, out: &mut Output) -> Result<Outcome> {
    if args.format == StateFormat::Parquet {
        check_parquet(args)?;
    }
    let found = Found::read(&args.dir)?;
    let Chosen { manifest, problem } = choose(&found, args.number)?;
    let state = choose_state(manifest, &args.name)?;
    let selection = Selection::new(found.to_read(manifest), state, args);
    let told = match &args.output {
        None => write(&selection, args.format, out)?,
        Some(path) => {
            let file = NewFile::create(path)?;
            let told = match args.format {
                StateFormat::Parquet => write_parquet(&selection, &file)?,
                format => {
                    let mut out = Output::to_file(Box::new(file.writer()));
                    let told = write(&selection, format, &mut out)?;
                    out.flush()?;
                    told
                }
            };
            selection.check_found(&told)?;
            file.publish()?;
            told
        }
    };
    selection.check_found(&told)?;
    if told.undecodable > 0 {
        tell(format!(
            "{} keys or values are no MessagePack: they are shown as bytes",
            told.undecodable
        ));
    }
    Ok(Outcome::clean_if(problem.is_none()))
}

fn write(selection: &Selection<'_>, format: StateFormat, out: &mut Output) -> Result<Told> {
    match format {
        StateFormat::Text => selection.each(|entry| lines::text(entry, out)),
        StateFormat::Json => selection.each(|entry| lines::json(entry, out)),
        StateFormat::Csv | StateFormat::Parquet => {
            let columns = Columns::of(selection)?;
            as_csv::write(selection, &columns, out)
        }
    }
}

fn check_parquet(args: &StateArgs) -> Result<()> {
    let refused = |what: &str| Err(Failure::Usage(what.to_owned()));
    if !cfg!(feature = "parquet") {
        return refused(
            "--format parquet needs the feature `parquet`: install with `cargo install highwater-cli --features parquet`",
        );
    }
    match &args.output {
        Some(_) => Ok(()),
        None => refused("--format parquet needs --output FILE: the format cannot be printed"),
    }
}

#[cfg(feature = "parquet")]
fn write_parquet(selection: &Selection<'_>, file: &NewFile) -> Result<Told> {
    let columns = Columns::of(selection)?;
    as_parquet::write(selection, &columns, file.writer())
}

#[cfg(not(feature = "parquet"))]
fn write_parquet(_: &Selection<'_>, _: &NewFile) -> Result<Told> {
    // It was refused before.
    Err(Failure::Usage("the feature `parquet` is off".to_owned()))
}
