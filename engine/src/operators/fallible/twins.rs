//! The fallible twins of the operators of single records.

use crate::error::BoxError;
use crate::operators::attempts::attempt::text_of;
use crate::operators::dstream::DStream;
use crate::operators::single_records::Emitter;
use crate::record::{Record, Value};
use std::panic::Location;

impl<T: Value> DStream<T> {
    /// Applies `f` to every record. What becomes of one on which it returns an error, or panics, is
    /// up to the stream: see [`Self::on_error`].
    ///
    /// ```
    /// # use highwater_engine::{DStream, ErrorPolicy};
    /// # fn program(lines: &DStream<String>) {
    /// let numbers = lines
    ///     .on_error(ErrorPolicy::Skip) // without it, the batch fails
    ///     .try_map(|line| line.parse::<f64>());
    /// # let _ = numbers;
    /// # }
    /// ```
    #[track_caller]
    pub fn try_map<U: Record, E: Into<BoxError>>(
        &self,
        f: impl Fn(T) -> Result<U, E> + Send + Sync + 'static,
    ) -> DStream<U> {
        let f = move |record, made: &mut Vec<U>| {
            made.push(f(record).map_err(text_of)?);
            Ok(())
        };
        self.fallible().attempt("try_map", Location::caller(), f)
    }

    /// Keeps the records for which `f` is true. See [`Self::on_error`] for those on which it fails.
    #[track_caller]
    pub fn try_filter<E: Into<BoxError>>(
        &self,
        f: impl Fn(&T) -> Result<bool, E> + Send + Sync + 'static,
    ) -> DStream<T> {
        let f = move |record, made: &mut Vec<T>| {
            if f(&record).map_err(text_of)? {
                made.push(record);
            }
            Ok(())
        };
        let stream = self.fallible();
        let filtered = stream.attempt("try_filter", Location::caller(), f);
        filtered.with_policy(stream.on_error)
    }

    /// Applies `f` to every record and hands on everything that it returns. If the iterator panics,
    /// nothing of the record is handed on. See [`Self::on_error`] for records on which it fails.
    #[track_caller]
    pub fn try_flat_map<I, E: Into<BoxError>>(
        &self,
        f: impl Fn(T) -> Result<I, E> + Send + Sync + 'static,
    ) -> DStream<I::Item>
    where
        I: IntoIterator,
        I::Item: Record,
    {
        let f = move |record, made: &mut Vec<I::Item>| {
            made.extend(f(record).map_err(text_of)?);
            Ok(())
        };
        self.fallible()
            .attempt("try_flat_map", Location::caller(), f)
    }

    /// Like [`Self::try_flat_map`], but `f` emits instead of returning. What it has emitted of a
    /// record before it fails is not handed on.
    #[track_caller]
    pub fn try_flat_map_into<U: Record, E: Into<BoxError>>(
        &self,
        f: impl Fn(T, &mut Emitter<'_, U>) -> Result<(), E> + Send + Sync + 'static,
    ) -> DStream<U> {
        let f = move |record, made: &mut Vec<U>| {
            let mut emit = |item| made.push(item);
            f(record, &mut Emitter::new(&mut emit)).map_err(text_of)
        };
        self.fallible()
            .attempt("try_flat_map_into", Location::caller(), f)
    }

    /// This stream, whose records can be written if they are to be put aside.
    pub(super) fn fallible(&self) -> DStream<T> {
        match self.on_error.codec {
            Some(_) => self.clone(),
            None => self.on_error(self.on_error.policy),
        }
    }
}
