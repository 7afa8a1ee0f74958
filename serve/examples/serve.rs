//! A server of streams inside of a program: `cargo run --example serve -- DIR [ADDRESS [SECONDS]]`.
//! It ends at the end of its input. SECONDS is how long a long poll waits.

use highwater_serve::{ServeOptions, StreamServer};
use highwater_streams::{Options, Streams};
use std::error::Error;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or("streams.d".to_owned());
    let address = arguments.next().unwrap_or("127.0.0.1:4437".to_owned());
    let wait: f64 = arguments.next().map_or(Ok(20.0), |wait| wait.parse())?;
    let streams = Arc::new(Streams::open(dir, Options::new())?);
    let options = ServeOptions::new().long_poll(Duration::try_from_secs_f64(wait)?);
    let server = StreamServer::start(Arc::clone(&streams), &address, options)?;
    println!("http://{}/v1/stream/...", server.local_addr());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    server.stop();
    streams.close()?;
    Ok(())
}
