//! Stores by URL.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use highwater_checkpoint::{UrlError, open_url};

fn error(url: &str) -> String {
    open_url(url).unwrap_err().to_string()
}

#[test]
fn a_file_url_is_a_directory() {
    for (url, place) in [
        ("file:///var/lib/app", "/var/lib/app"),
        ("file://localhost/var", "/var"),
        ("file:///with%20space/%C3%A4", "/with space/\u{e4}"),
        ("file:///me@home?a#b", "/me@home?a#b"),
    ] {
        assert_eq!(open_url(url).unwrap().place(), place);
    }
    for url in [
        "file://relative/path",
        "file://",
        "file://host.com/var",
        "file:///a%2",
        "file:///%zz",
        "file:///%00",
        "file:///%+1",
    ] {
        assert!(
            matches!(open_url(url), Err(UrlError::Malformed { .. })),
            "{url}"
        );
    }
}

/// Each refusal says what to do.
#[test]
fn what_is_no_place_is_refused() {
    for (url, told) in [
        (
            "",
            "this is no URL; a place of checkpoints is file:///directory, s3://bucket/prefix",
        ),
        ("/var/lib/app", "this is no URL"),
        ("a b://c", "this is no URL"),
        (
            "ftp://host/dir",
            "ftp:// is not known; file, s3, gs, az and hdfs are",
        ),
        ("s3://", "s3://: after :// the name of a bucket"),
        (
            "s3:///prefix",
            "s3:///prefix: after :// the name of a bucket",
        ),
        ("gs://-a", "gs://-a: after :// the name of a bucket"),
        (
            "s3://a_b:80/c",
            "s3://a_b:80/c: the name of a bucket, container or host has",
        ),
        ("az://b//c", "az://b//c: the prefix has an empty part"),
        ("az://b/../c", "az://b/../c: the prefix has an empty part"),
        ("s3://b/a%20b", "s3://b/a%20b: the prefix has '%'"),
    ] {
        let error = error(url);
        assert!(error.starts_with(told), "{error}");
    }
}

/// F86: a URL is printed and logged. Nothing that may be a password comes out again.
#[test]
fn credentials_in_a_url_are_refused_and_not_repeated() {
    for scheme in ["s3", "s3a", "gs", "az", "hdfs"] {
        for rest in [
            "user:hunter2@bucket/p",
            "u:hun/hunter2@bucket",
            "bucket/p?sig=hunter2",
            "bucket#hunter2",
            "hunter2@/",
        ] {
            let error = open_url(&format!("{scheme}://{rest}")).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(
                told.contains("environment") && !told.contains("hunter2"),
                "{told}"
            );
        }
    }
    for url in ["hunter2", "hunter2:secret@bucket", "user:hunter2://b"] {
        assert!(!error(url).contains("hunter2"), "{url}");
    }
}

/// Without the feature there is a sentence with its name; with it, a store that asks nothing yet.
#[test]
fn a_feature_that_is_missing_is_named() {
    for (url, feature, is_there) in [
        ("s3://bucket/prefix", "s3", cfg!(feature = "s3")),
        ("s3a://bucket/prefix", "s3", cfg!(feature = "s3")),
        ("hdfs://host:9000/dir", "hdfs", cfg!(feature = "hdfs")),
        ("gs://bucket/prefix/", "gcs", cfg!(feature = "gcs")),
        ("az://container/prefix", "azure", cfg!(feature = "azure")),
    ] {
        match open_url(url) {
            Ok(store) => {
                assert!(is_there, "{url}");
                assert_eq!(store.place(), url.replace("s3a", "s3"));
            }
            // The account of Azure comes from the environment, and there is no default.
            Err(UrlError::Settings { source, .. }) if feature == "azure" => {
                assert!(
                    is_there && source.to_string().contains("AZURE_STORAGE_ACCOUNT_NAME"),
                    "{source}"
                );
            }
            Err(error) => {
                let told = format!(
                    "which this program was compiled without: highwater = {{ features = [\"{feature}\"] }}"
                );
                assert!(error.to_string().ends_with(&told) && !is_there, "{error}");
            }
        }
    }
}

#[cfg(feature = "s3")]
mod s3 {
    use super::error;
    use std::process::Command;

    const CHILD: &str = "HIGHWATER_URL_CHILD";

    /// State goes over the network unencrypted only if the user has said so. In a process of its
    /// own, for the environment.
    #[test]
    fn http_must_be_asked_for() {
        if std::env::var_os(CHILD).is_some() {
            let told = error("s3://bucket/prefix");
            assert!(told.contains("set AWS_ALLOW_HTTP=true"), "{told}");
            return;
        }
        for endpoint in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "s3::http_must_be_asked_for"]);
            child.env(CHILD, "").env(endpoint, "http://127.0.0.1:9");
            let ran = child.output().unwrap();
            let told = String::from_utf8_lossy(&ran.stdout);
            assert!(ran.status.success() && told.contains("1 passed"), "{told}");
        }
    }
}
