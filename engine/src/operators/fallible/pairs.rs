//! The fallible twins of the operators of values of pairs.

use crate::error::BoxError;
use crate::operators::attempts::attempt::text_of;
use crate::operators::dstream::DStream;
use crate::record::{Record, Value};
use std::panic::Location;

impl<K: Value, V: Value> DStream<(K, V)> {
    /// Applies `f` to every value and keeps the keys. See [`DStream::on_error`] for pairs on which
    /// it fails.
    #[track_caller]
    pub fn try_map_values<U: Record, E: Into<BoxError>>(
        &self,
        f: impl Fn(V) -> Result<U, E> + Send + Sync + 'static,
    ) -> DStream<(K, U)> {
        let f = move |(key, value), made: &mut Vec<(K, U)>| {
            made.push((key, f(value).map_err(text_of)?));
            Ok(())
        };
        self.fallible()
            .attempt("try_map_values", Location::caller(), f)
    }

    /// Applies `f` to every value and hands on everything that it returns, each with the key. See
    /// [`DStream::on_error`] for pairs on which it fails.
    #[track_caller]
    pub fn try_flat_map_values<I, E: Into<BoxError>>(
        &self,
        f: impl Fn(V) -> Result<I, E> + Send + Sync + 'static,
    ) -> DStream<(K, I::Item)>
    where
        I: IntoIterator,
        I::Item: Record,
    {
        let f = move |(key, value): (K, V), made: &mut Vec<(K, I::Item)>| {
            let values = f(value).map_err(text_of)?;
            made.extend(values.into_iter().map(|value| (key.clone(), value)));
            Ok(())
        };
        self.fallible()
            .attempt("try_flat_map_values", Location::caller(), f)
    }
}
