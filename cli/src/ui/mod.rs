//! `highwater ui`: a directory in a browser.
//!
//! | file | holds |
//! |---|---|
//! | `directory` | a directory that is looked at again and again |
//! | `look` | one look at it |
//! | `shown` | what is shown of it |

mod directory;
mod look;
mod shown;

use crate::args::UiArgs;
use crate::ui::directory::Directory;
use highwater::disk::OsDisk;
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::Output;
use highwater_ui::{Observed, UiOptions, serve};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

/// Runs the command: until SIGINT or SIGTERM.
pub(crate) fn ui(args: &UiArgs, out: &mut Output) -> Result<Outcome> {
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|e| Failure::Io(format!("signals cannot be waited for: {e}")))?;
    check_exposure(args)?;
    let directory = Directory::open(&args.dir)?;
    directory.check_is_engines()?;
    // What cannot be shown at all is said here, and not in a browser.
    directory.snapshot().map_err(Failure::Io)?;
    let options = UiOptions::new().tick(Duration::from_secs_f64(args.every));
    let options = match args.insecure {
        true => options.insecure(),
        false => options,
    };
    let disk = Arc::new(OsDisk::new());
    let server = serve(Arc::new(directory), &args.listen, options, disk);
    let server = server.map_err(Failure::Io)?;
    out.line(format!("http://{}", server.local_addr()))?;
    out.flush()?;
    let _signal = signals.forever().next();
    server.stop();
    Ok(Outcome::Clean)
}

/// An address that other machines reach is meant only if it is said.
fn check_exposure(args: &UiArgs) -> Result<()> {
    let cannot = |e| Failure::Usage(format!("--listen {}: {e}", args.listen));
    let mut addresses = args.listen.to_socket_addrs().map_err(cannot)?;
    let exposed = addresses.find(|address| !address.ip().is_loopback());
    match exposed {
        Some(address) if !args.insecure => Err(Failure::Usage(format!(
            "{address} can be reached from other machines, and the page does not ask who they are: listen on 127.0.0.1 behind a \
             proxy that does, or say --insecure"
        ))),
        _ => Ok(()),
    }
}
