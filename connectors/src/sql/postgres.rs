//! PostgreSQL.

use super::ownership::{CREATE, Ownership, Row, SELECT, Step, TAKE_OVER, UPSERT, number};
use highwater_engine::{
    Batch, BoxError, Guarantee, Part, Records, SinkContext, SinkError, StagedPart, StagedSink,
};
use parking_lot::Mutex;
use postgres::{Client, Config, NoTls, Transaction};
use std::fmt;
use std::time::Duration;

/// How long a server may take to answer, unless the configuration says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Classes of errors of the server that the same batch would meet again: what is asked for, not
/// whether it can be had now.
const PERMANENT: [&str; 8] = ["0A", "20", "21", "22", "23", "26", "42", "44"];

/// The sink.
pub(crate) struct PostgresSink<F> {
    /// If there is none, the error is reported when the sink opens.
    config: Result<Config, String>,
    write: F,
    opened: Mutex<Option<Opened>>,
}

struct Opened {
    config: Config,
    ownership: Ownership,
    /// `None` after an error: the next attempt connects again.
    client: Option<Client>,
}

impl<F> fmt::Debug for PostgresSink<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A configuration may hold a password.
        f.debug_struct("PostgresSink").finish_non_exhaustive()
    }
}

impl<F> PostgresSink<F> {
    pub(crate) fn new(config: &str, write: F) -> Self {
        Self {
            config: config.parse().map_err(|e: postgres::Error| e.to_string()),
            write,
            opened: Mutex::new(None),
        }
    }
}

fn connect(config: &Config) -> Result<Client, postgres::Error> {
    let mut config = config.clone();
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(PATIENCE);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(PATIENCE);
    }
    let mut client = config.connect(NoTls)?;
    // What is staged must survive a crash of the server that comes after `committed`.
    let row = client.query_one("SELECT current_setting('synchronous_commit')", &[])?;
    if row.get::<_, String>(0) == "off" {
        client.batch_execute("SET synchronous_commit = on")?;
    }
    Ok(client)
}

fn read_row(row: Option<&postgres::Row>) -> Result<Option<Row>, postgres::Error> {
    row.map(|row| {
        Ok(Row {
            log: row.try_get(0)?,
            batch: row.try_get(1)?,
            time_ms: row.try_get(2)?,
        })
    })
    .transpose()
}

impl Opened {
    fn new(config: &Config, context: &SinkContext) -> Result<Self, BoxError> {
        let mut client = connect(config)?;
        client.batch_execute(CREATE)?;
        let row = client.query_opt(SELECT, &[&context.owner.output])?;
        let row = read_row(row.as_ref())?;
        let name = config.get_dbname().unwrap_or("of the user");
        let database = format!("PostgreSQL database {name}");
        let ownership = Ownership::take(database, row.as_ref(), context)?;
        if let Some((output, from, to)) = ownership.takes_over(row.as_ref()) {
            client.execute(TAKE_OVER, &[&output, &from, &to])?;
        }
        Ok(Self {
            config: config.clone(),
            ownership,
            client: Some(client),
        })
    }

    /// Connects if need be, and writes a batch in one transaction.
    fn write(
        &mut self,
        batch: &Batch,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        // It is put back only if all goes well: after an error it is not known how it stands.
        let mut client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => connect(&self.config)?,
        };
        write_in(&mut client, &self.ownership, batch, write)?;
        self.ownership.has(batch);
        self.client = Some(client);
        Ok(())
    }
}

/// Does `write` and notes the batch, unless the database has it.
fn write_in(
    client: &mut Client,
    ownership: &Ownership,
    batch: &Batch,
    write: impl FnOnce(&mut Transaction<'_>) -> Result<(), BoxError>,
) -> Result<(), BoxError> {
    let owner = &ownership.owner;
    let mut transaction = client.transaction()?;
    let select = format!("{SELECT} FOR UPDATE");
    let row = transaction.query_opt(&select, &[&owner.output])?;
    if ownership.step(read_row(row.as_ref())?.as_ref(), batch)? == Step::Skip {
        return Ok(());
    }
    let before = transaction_id(&mut transaction)?;
    write(&mut transaction)?;
    if transaction_id(&mut transaction)? != before {
        return Err(Ownership::transaction_was_ended());
    }
    let (log, id, time_ms) = (ownership.log(), number(batch.id), number(batch.time_ms));
    let values: [&(dyn postgres::types::ToSql + Sync); 5] =
        [&owner.output, &log, &owner.application, &id, &time_ms];
    let written = transaction.execute(UPSERT, &values)?;
    ownership.check_written(written)?;
    Ok(transaction.commit()?)
}

/// Which transaction this is. Outside of one, each statement has its own.
fn transaction_id(transaction: &mut Transaction<'_>) -> Result<String, postgres::Error> {
    let row = transaction.query_one("SELECT pg_current_xact_id()::text", &[])?;
    row.try_get(0)
}

/// What another attempt will not cure is permanent.
fn classified(error: BoxError) -> BoxError {
    let of_server = error.downcast_ref::<postgres::Error>();
    let code = of_server.and_then(postgres::Error::code);
    let class = code.and_then(|code| code.code().get(..2));
    match class.is_some_and(|class| PERMANENT.contains(&class)) {
        true => SinkError::permanent(Described(error)).into(),
        false if of_server.is_some() => Described(error).into(),
        false => error,
    }
}

/// The client's errors leave out what the server says.
#[derive(Debug)]
struct Described(BoxError);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)?;
        match self.0.source() {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Described {}

impl<T, E, F> StagedSink<T> for PostgresSink<F>
where
    T: 'static,
    E: Into<BoxError>,
    F: Fn(&mut Transaction<'_>, &Batch, &Records<'_, T>) -> Result<(), E> + Send + Sync + 'static,
{
    fn guarantee(&self) -> Guarantee {
        Guarantee::Idempotent
    }

    /// One transaction.
    fn max_parts(&self) -> usize {
        1
    }

    fn open(&self, context: &SinkContext) -> Result<(), BoxError> {
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let opened = Opened::new(config, context).map_err(classified)?;
        *self.opened.lock() = Some(opened);
        Ok(())
    }

    fn stage(
        &self,
        batch: &Batch,
        _: Part,
        records: &Records<'_, T>,
    ) -> Result<Option<Vec<u8>>, BoxError> {
        let mut opened = self.opened.lock();
        let opened = opened.as_mut().ok_or("the sink was not opened")?;
        let write = |transaction: &mut Transaction<'_>| {
            (self.write)(transaction, batch, records).map_err(Into::into)
        };
        opened.write(batch, write).map_err(classified)?;
        Ok(None)
    }

    fn publish(&self, _: &Batch, _: &[StagedPart]) -> Result<(), BoxError> {
        Ok(())
    }
}
