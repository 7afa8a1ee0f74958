//! Stores by URL.

use crate::store::Store;
use crate::store::local::LocalStore;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "hdfs"))]
use crate::store::object::clouds::{self, Location};
use highwater_disk::OsDisk;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a URL names no place for checkpoints. No message repeats what may be a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// There is no scheme.
    #[error(
        "this is no URL; a place of checkpoints is file:///directory, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or hdfs://host:port/directory"
    )]
    NoUrl,

    /// The scheme is not known.
    #[error("{scheme}:// is not known; file, s3, gs, az and hdfs are")]
    UnknownScheme {
        /// The text before `://`.
        scheme: String,
    },

    /// The program was compiled without what the scheme needs.
    #[error(
        "{scheme}:// needs the feature `{feature}`, which this program was compiled without: highwater = {{ features = [\"{feature}\"] }}"
    )]
    FeatureMissing {
        /// The scheme.
        scheme: &'static str,
        /// The feature of `highwater`, `highwater-engine` and `highwater-checkpoint`.
        feature: &'static str,
    },

    /// The URL holds a user, a password or a query.
    #[error(
        "this {scheme}:// URL holds {what}; leave it out: URLs are printed and logged, so credentials come from the environment"
    )]
    Credentials {
        /// The scheme.
        scheme: &'static str,
        /// What was found.
        what: &'static str,
    },

    /// A part of the URL is missing or wrong.
    #[error("{url}: {what}")]
    Malformed {
        /// The URL, which holds no credentials.
        url: String,
        /// What is wrong.
        what: String,
    },

    /// The store refuses the settings that the environment has.
    #[error("cannot open {url}: {source}")]
    Settings {
        /// The URL, which holds no credentials.
        url: String,
        /// What is wrong.
        source: io::Error,
    },
}

/// The store at a URL. Nothing is asked of it yet: a bucket that is missing is found by
/// [`Store::prepare`].
///
/// | URL | feature | settings and credentials |
/// |---|---|---|
/// | `file:///directory` | | |
/// | `s3://bucket/prefix` | `s3` | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, or the role of the machine |
/// | `gs://bucket/prefix` | `gcs` | `GOOGLE_SERVICE_ACCOUNT`, `GOOGLE_APPLICATION_CREDENTIALS`, or the account of the machine |
/// | `az://container/prefix` | `azure` | `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_STORAGE_SAS_TOKEN`, or the identity of the machine |
/// | `hdfs://host:port/directory` | `hdfs` | the configuration in `HADOOP_CONF_DIR` or `HADOOP_HOME`, `HADOOP_USER_NAME` |
///
/// `s3a://` means the same as `s3://`. A prefix is used as it stands; in the path of `file://`,
/// `%20` and the like are decoded.
///
/// # Errors
/// [`UrlError`].
///
/// ```
/// use highwater_checkpoint::open_url;
///
/// let store = open_url("file:///var/lib/word-count/checkpoints").unwrap();
/// assert_eq!(store.place(), "/var/lib/word-count/checkpoints");
///
/// let error = open_url("s3://user:password@bucket").unwrap_err().to_string();
/// assert!(!error.contains("password@"));
/// ```
pub fn open_url(url: &str) -> Result<Arc<dyn Store>, UrlError> {
    let (scheme, rest) = url.split_once("://").ok_or(UrlError::NoUrl)?;
    let scheme = scheme_of(scheme)?;
    if scheme == "file" {
        return file(rest);
    }
    let found = |what| Err(UrlError::Credentials { scheme, what });
    if rest.contains('@') {
        return found("a user name (before the @)");
    }
    if rest.contains(['?', '#']) {
        return found("a query (after the ? or #)");
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let place = format!("{scheme}://{rest}");
    let malformed = |what: &str| {
        Err(UrlError::Malformed {
            url: place.clone(),
            what: what.to_owned(),
        })
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !authority.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return malformed("after :// the name of a bucket, container or host is missing");
    }
    if !authority
        .chars()
        .all(|c| is_plain(c) || (scheme == "hdfs" && c == ':'))
    {
        return malformed(
            "the name of a bucket, container or host has letters, digits, '.', '-' and '_'",
        );
    }
    let prefix = path.strip_suffix('/').unwrap_or(path);
    let is_odd = |part: &str| matches!(part, "" | "." | "..");
    if !prefix.is_empty() && prefix.split('/').any(is_odd) {
        return malformed("the prefix has an empty part, '.' or '..'");
    }
    if prefix.contains(|c: char| c == '%' || c == '\\' || c.is_control()) {
        return malformed("the prefix has '%', '\\' or a control character");
    }
    remote(scheme, authority, prefix, &place)
}

fn scheme_of(scheme: &str) -> Result<&'static str, UrlError> {
    match scheme {
        "file" => Ok("file"),
        "s3" | "s3a" => Ok("s3"),
        "gs" => Ok("gs"),
        "az" => Ok("az"),
        "hdfs" => Ok("hdfs"),
        other if other.chars().all(|c| c.is_ascii_alphanumeric()) && other.len() < 20 => {
            let scheme = other.to_owned();
            Err(UrlError::UnknownScheme { scheme })
        }
        _ => Err(UrlError::NoUrl),
    }
}

fn file(rest: &str) -> Result<Arc<dyn Store>, UrlError> {
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    let malformed = |what: &str| UrlError::Malformed {
        url: format!("file://{rest}"),
        what: what.to_owned(),
    };
    if !rest.starts_with('/') {
        let what = "the path must begin at the root, with three slashes: file:///directory";
        return Err(malformed(what));
    }
    let path = decode(rest).ok_or_else(|| malformed("a % is not followed by two hex digits"))?;
    Ok(Arc::new(LocalStore::new(Arc::new(OsDisk::new()), path)))
}

/// `%20` and the like, as bytes of a path.
fn decode(text: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2)?;
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16)
            .ok()
            .filter(|b| is_hex && *b != 0)?;
        bytes.push(byte);
        rest = after.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "hdfs"))]
fn remote(
    scheme: &'static str,
    authority: &str,
    prefix: &str,
    place: &str,
) -> Result<Arc<dyn Store>, UrlError> {
    let at = Location {
        authority,
        prefix,
        place,
    };
    let opened = match scheme {
        #[cfg(feature = "s3")]
        "s3" => clouds::s3(at),
        #[cfg(feature = "gcs")]
        "gs" => clouds::gcs(at),
        #[cfg(feature = "azure")]
        "az" => clouds::azure(at),
        #[cfg(feature = "hdfs")]
        "hdfs" => clouds::hdfs(at),
        _ => return Err(missing(scheme)),
    };
    match opened {
        Ok(store) => Ok(Arc::new(store)),
        Err(source) => Err(UrlError::Settings {
            url: place.to_owned(),
            source,
        }),
    }
}

#[cfg(not(any(feature = "s3", feature = "gcs", feature = "azure", feature = "hdfs")))]
fn remote(
    scheme: &'static str,
    _authority: &str,
    _prefix: &str,
    _place: &str,
) -> Result<Arc<dyn Store>, UrlError> {
    Err(missing(scheme))
}

fn missing(scheme: &'static str) -> UrlError {
    let feature = match scheme {
        "gs" => "gcs",
        "az" => "azure",
        same => same,
    };
    UrlError::FeatureMissing { scheme, feature }
}
