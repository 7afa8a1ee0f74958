//! A Kafka producer into SQL, without a broker: a record is durable when it is acknowledged, and
//! counts once in the database, over retries, crashes and restarts.
//! `cargo run --release --example kafka_to_sql --features kafka,sqlite,streams`

use highwater::prelude::*;
use highwater::rdkafka::ClientConfig;
use highwater::rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use highwater::rusqlite::{Connection, Error, Transaction};
use highwater::{BatchMode, Records, Served, ServedRecord};
use highwater_kafka::{KafkaOptions, KafkaServer};
use highwater_streams::{Options, Streams};
use std::{path::Path, sync::Arc, time::Duration};
const TABLE: &str = "CREATE TABLE IF NOT EXISTS sold (item TEXT PRIMARY KEY, cents INTEGER)";

fn add(tx: &Transaction<'_>, _: &Batch, sold: &Records<'_, (String, i64)>) -> Result<(), Error> {
    let sum = "INSERT INTO sold VALUES (?1, ?2) ON CONFLICT DO UPDATE SET cents = cents + ?2";
    sold.iter()
        .try_for_each(|(item, cents)| tx.execute(sum, (item, cents)).map(drop))
}

fn sale(record: ServedRecord) -> Result<(String, i64), BoxError> {
    let cents = record.text()?.parse()?;
    Ok((String::from_utf8(record.key.unwrap_or_default())?, cents))
}

fn pipeline(dir: &Path, orders: Served) -> highwater::Result<StreamingContext> {
    let builder = StreamingContext::builder(dir.join("app")).batches(BatchMode::Manual);
    builder.get_or_create(|ssc| {
        let sold = ssc.served_records("orders", orders).try_map(sale);
        let sold = sold.on_error(ErrorPolicy::DeadLetter).named("sale");
        sold.save_to_sqlite("sold", dir.join("shop.db"), add);
        Ok(())
    })
}

fn main() -> Result<(), BoxError> {
    let dir = std::env::temp_dir().join(format!("highwater-kafka-{}", std::process::id()));
    let streams = Arc::new(Streams::open(dir.join("streams"), Options::new())?);
    let options = KafkaOptions::new().topic("orders", 1);
    let server = KafkaServer::start(Arc::clone(&streams), "127.0.0.1:0", options)?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", server.local_addr().to_string());
    let producer: BaseProducer = config.set("enable.idempotence", "true").create()?;
    let db = Connection::open(dir.join("shop.db"))?;
    db.execute(TABLE, ())?;
    for life in 1..=2 {
        for item in ["tea", "cake"].repeat(500) {
            let record = BaseRecord::to("orders").key(item).payload("250");
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(Duration::from_secs(10))?; // all are on the disk
        let context = pipeline(&dir, Served::new(&streams, ["orders"]))?;
        context.start()?;
        context.run_batch()?; // no checkpoint is made: the second life reads all of it again
        let cents: i64 = db.query_row("SELECT sum(cents) FROM sold", (), |row| row.get(0))?;
        println!("{cents} cents");
        assert_eq!(cents, life * 250_000);
    }
    Ok(())
}
