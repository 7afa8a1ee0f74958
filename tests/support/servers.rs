//! Servers of object stores that tests start: S3 (`moto`) and Azure (`azurite`).
//!
//! Where one is not installed the tests say so and pass; with `HIGHWATER_REQUIRE_S3` or
//! `HIGHWATER_REQUIRE_AZURE` set they fail. `.ci/run` says how to install them.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]
#![allow(
    clippy::disallowed_methods,
    reason = "a bound that only a broken server meets"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where a test that runs again in a process of its own finds the place for its files.
const PLACE: &str = "HIGHWATER_TEST_PLACE";

/// The bucket, or container, that a server has.
const BUCKET: &str = "checkpoints";

/// The account that `azurite` has, with a key that everybody knows.
const ACCOUNT: &str = "devstoreaccount1";
pub(crate) const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
pub(crate) const SECRET_KEY: &str = "a-secret-that-is-told-to-no-file";

/// `moto` looks whether a file is there and then creates it, in several threads: two could create
/// it. Here it answers one request after the other.
const MOTO: &str = "
import sys, threading
from moto.server import *
app, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()
def one_by_one(environ, start_response):
    with lock:
        return list(app(environ, start_response))
run_simple('127.0.0.1', int(sys.argv[1]), one_by_one, threaded=True, request_handler=MotoRequestHandler)
";

/// Creates a container: signed with the key of the account.
const CONTAINER: &str = "
const [port, account, key, container] = process.argv.slice(1);
const date = new Date().toUTCString(), version = '2021-12-02';
const resource = `/${account}/${account}/${container}\\nrestype:container`;
const headers = `x-ms-date:${date}\\nx-ms-version:${version}\\n`;
const signed = ['PUT', '', '', '', '', '', '', '', '', '', '', '', headers + resource].join('\\n');
const hmac = require('crypto').createHmac('sha256', Buffer.from(key, 'base64'));
const signature = hmac.update(signed, 'utf8').digest('base64');
const path = `/${account}/${container}?restype=container`;
const options = { port, path, method: 'PUT', headers: { 'x-ms-date': date, 'x-ms-version': version,
  'Content-Length': 0, Authorization: `SharedKey ${account}:${signature}` } };
require('http').request(options, (r) => process.exit(r.statusCode == 201 ? 0 : 1)).end();
";

/// So many ports are tried: another program may have taken one.
const MOST_PORTS: u32 = 20;
const STARTED_WITHIN: Duration = Duration::from_mins(2);

/// A server that ends with this.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// URL of a place in it.
    pub(crate) place: String,
    /// What a program needs to know to use it.
    pub(crate) env: Vec<(&'static str, String)>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a test again, in a process that has the settings of a server in its environment, and gives
/// it the URL of a place there.
pub(crate) fn with_server(start: fn() -> Option<Server>, test: &str, run: impl FnOnce(&str)) {
    if let Ok(place) = std::env::var(PLACE) {
        return run(&place);
    }
    if let Some(server) = start() {
        let ran = server.again(test).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stdout).into_owned();
        let failed = String::from_utf8_lossy(&ran.stderr);
        assert!(
            ran.status.success() && told.contains("1 passed"),
            "{told}{failed}"
        );
    }
}

impl Server {
    /// A process that runs a test of this binary with the settings of the server.
    pub(crate) fn again(&self, test: &str) -> Command {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", test, "--nocapture"]);
        again.env(PLACE, &self.place);
        again.envs(self.env.iter().map(|(name, value)| (name, value)));
        again
    }

    /// Starts a server on a free port, and waits until it listens. One that cannot start made the
    /// test wait for ever.
    fn start(command: impl Fn(u16) -> Command) -> (Child, u16) {
        let begun = Instant::now();
        for _ in 0..MOST_PORTS {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
            let port = port.unwrap().port();
            let mut command = command(port);
            let command = command.stdin(Stdio::null()).stdout(Stdio::null());
            let mut child = command.stderr(Stdio::null()).spawn().unwrap();
            // It ends if another program has taken the port.
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return (child, port);
                }
                assert!(begun.elapsed() < STARTED_WITHIN, "no server: {command:?}");
                std::thread::yield_now();
            }
        }
        panic!("no server: {:?} ended {MOST_PORTS} times", command(0));
    }
}

/// An S3 with an empty bucket.
pub(crate) fn s3() -> Option<Server> {
    let program = installed("moto_server", "moto/bin", "HIGHWATER_REQUIRE_S3")?;
    let python = program.with_file_name("python3");
    let (child, port) = Server::start(|port| {
        let mut moto = Command::new(&python);
        moto.args(["-c", MOTO]).arg(port.to_string());
        moto
    });
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let create = format!(
        "PUT /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(create.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
    Some(Server {
        child,
        port,
        place: format!("s3://{BUCKET}/word-count"),
        env: vec![
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIATEST".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ],
    })
}

/// An Azure with an empty container.
pub(crate) fn azure() -> Option<Server> {
    let bin = "azurite/node_modules/.bin";
    let program = installed("azurite-blob", bin, "HIGHWATER_REQUIRE_AZURE")?;
    let (child, port) = Server::start(|port| {
        let mut azurite = Command::new(&program);
        azurite.args([
            "--inMemoryPersistence",
            "--skipApiVersionCheck",
            "--blobPort",
        ]);
        azurite.arg(port.to_string());
        azurite
    });
    let mut create = Command::new("node");
    let create = create.args([
        "-e",
        CONTAINER,
        &port.to_string(),
        ACCOUNT,
        ACCOUNT_KEY,
        BUCKET,
    ]);
    assert!(create.status().unwrap().success(), "no container was made");
    let endpoint = format!("http://127.0.0.1:{port}");
    Some(Server {
        child,
        port,
        place: format!("az://{BUCKET}/word-count"),
        env: vec![
            ("AZURITE_BLOB_STORAGE_URL", endpoint),
            ("AZURE_STORAGE_USE_EMULATOR", "true".to_owned()),
            ("AZURE_ALLOW_HTTP", "true".to_owned()),
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY.to_owned()),
        ],
    })
}

/// A program, on the path or where `.ci/run` puts it.
fn installed(program: &str, under_target: &str, require: &str) -> Option<PathBuf> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut targets = crate_dir.ancestors().take(2).map(|dir| dir.join("target"));
    let ours = targets
        .find(|dir| dir.is_dir())
        .map(|dir| dir.join(under_target));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = ours.into_iter().chain(std::env::split_paths(&path));
    let found = dirs.find(|dir| dir.join(program).exists());
    if found.is_none() {
        assert!(
            std::env::var_os(require).is_none(),
            "no {program} on this machine"
        );
        println!("skipped: no {program} on this machine");
    }
    found.map(|dir| dir.join(program))
}
