//! Object stores from a URL and the environment. Credentials are read here and handed on; nothing
//! keeps or prints them.

use crate::store::object::calls::Calls;
use crate::store::object::put::Hashes;
use crate::store::object::remote::RemoteStore;
use object_store::ObjectStore;
use std::io;
use std::sync::Arc;

/// A bucket, container or host with a prefix in it, and its name in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Location<'a> {
    pub(crate) authority: &'a str,
    pub(crate) prefix: &'a str,
    pub(crate) place: &'a str,
}

/// Requests end by the bounds of this crate.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
const NO_BOUND: &str = "1day";

/// This crate tries again itself, and knows what each try may have done.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn no_retries() -> object_store::RetryConfig {
    object_store::RetryConfig {
        max_retries: 0,
        ..object_store::RetryConfig::default()
    }
}

#[cfg(feature = "s3")]
pub(crate) fn s3(at: Location<'_>) -> io::Result<RemoteStore> {
    use object_store::ClientConfigKey as Client;
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key, S3ConditionalPut};
    let builder = AmazonS3Builder::from_env()
        .with_bucket_name(at.authority)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_config(Key::Client(Client::Timeout), NO_BOUND)
        .with_retry(no_retries());
    let value = |key| builder.get_config_value(&key).unwrap_or_default();
    let is_on = |key| value(key) == "true";
    let endpoint = match value(Key::S3Endpoint) {
        endpoint if endpoint.is_empty() => value(Key::Endpoint),
        endpoint => endpoint,
    };
    if endpoint.starts_with("http://") && !is_on(Key::Client(Client::AllowHttp)) {
        let text = "the endpoint begins with http://, so state would be sent without encryption; \
                    set AWS_ALLOW_HTTP=true if that is meant, or use https://";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // A signature covers a hash of the content.
    let hashes = match is_on(Key::UnsignedPayload) || is_on(Key::SkipSignature) {
        true => Hashes::Unknown,
        false => Hashes::Compared,
    };
    let hint = " (bucket, region, endpoint and credentials: AWS_REGION, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, \
                AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the role of the machine)";
    open(at, hashes, hint, |_| builder.build().map(Arc::new))
}

#[cfg(feature = "gcs")]
pub(crate) fn gcs(at: Location<'_>) -> io::Result<RemoteStore> {
    use object_store::ClientConfigKey as Client;
    use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as Key};
    let hint = " (bucket and credentials: GOOGLE_SERVICE_ACCOUNT, GOOGLE_APPLICATION_CREDENTIALS, or the service \
                account of the machine)";
    let builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(at.authority)
        .with_config(Key::Client(Client::Timeout), NO_BOUND)
        .with_retry(no_retries());
    open(at, Hashes::Unknown, hint, |_| builder.build().map(Arc::new))
}

#[cfg(feature = "azure")]
pub(crate) fn azure(at: Location<'_>) -> io::Result<RemoteStore> {
    use object_store::ClientConfigKey as Client;
    use object_store::azure::{AzureConfigKey as Key, MicrosoftAzureBuilder};
    let hint = " (container, account and credentials: AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, \
                AZURE_STORAGE_SAS_TOKEN, AZURE_CLIENT_ID, or the identity of the machine)";
    let builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(at.authority)
        .with_config(Key::Client(Client::Timeout), NO_BOUND)
        .with_retry(no_retries());
    open(at, Hashes::Unknown, hint, |_| builder.build().map(Arc::new))
}

#[cfg(feature = "hdfs")]
pub(crate) fn hdfs(at: Location<'_>) -> io::Result<RemoteStore> {
    use hdfs_native_object_store::HdfsObjectStoreBuilder;
    let hint = " (name nodes and credentials: the configuration in HADOOP_CONF_DIR or HADOOP_HOME, \
                HADOOP_USER_NAME, a Kerberos ticket)";
    open(at, Hashes::Unknown, hint, |calls| {
        let builder = HdfsObjectStoreBuilder::new().with_url(format!("hdfs://{}", at.authority));
        let builder = match calls.handle() {
            Some(handle) => builder.with_io_runtime(handle.clone()),
            None => builder,
        };
        builder.build().map(Arc::new)
    })
}

fn open<S: ObjectStore>(
    at: Location<'_>,
    hashes: Hashes,
    hint: &'static str,
    build: impl FnOnce(&Calls) -> object_store::Result<Arc<S>>,
) -> io::Result<RemoteStore> {
    let calls = Calls::new()?;
    let invalid =
        |e: object_store::Error| io::Error::new(io::ErrorKind::InvalidInput, format!("{e}{hint}"));
    let store = build(&calls).map_err(invalid)?;
    let place = at.place.to_owned();
    let store = RemoteStore::with_calls(calls, store, at.prefix, place)?;
    Ok(store.of_cloud(hashes, hint))
}
