//! `map`, `filter`, `flat_map`: operators that see one record after the other.

use crate::operators::dstream::DStream;
use crate::record::Record;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// Where `flat_map_into` puts its results.
pub struct Emitter<'a, T> {
    emit: &'a mut dyn FnMut(T),
}

impl<'a, T> Emitter<'a, T> {
    pub(crate) fn new(emit: &'a mut dyn FnMut(T)) -> Self {
        Self { emit }
    }

    /// Hands on one record.
    pub fn emit(&mut self, record: T) {
        (self.emit)(record);
    }
}

impl<T> fmt::Debug for Emitter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emitter")
    }
}

impl<T: 'static> DStream<T> {
    /// Applies `f` to every record.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(lines: &DStream<String>) {
    /// let lengths: DStream<usize> = lines.map(|line| line.len());
    /// # let _ = lengths;
    /// # }
    /// ```
    #[track_caller]
    pub fn map<U: Record>(&self, f: impl Fn(T) -> U + Send + Sync + 'static) -> DStream<U> {
        let f = Arc::new(f);
        let careful = Arc::clone(&f);
        self.record_by_record(
            "map",
            Location::caller(),
            DStream::unfuse,
            |operator, fused| {
                Arc::new(move |ctx, data, emit| {
                    fused(ctx, data, &mut |record| {
                        ctx.enter(operator);
                        emit(f(record));
                    });
                })
            },
            move |record, made| made.push(careful(record)),
        )
    }

    /// Keeps the records for which `f` is true.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(lines: &DStream<String>) {
    /// let errors: DStream<String> = lines.filter(|line| line.contains("ERROR"));
    /// # let _ = errors;
    /// # }
    /// ```
    #[track_caller]
    pub fn filter(&self, f: impl Fn(&T) -> bool + Send + Sync + 'static) -> DStream<T> {
        let f = Arc::new(f);
        let careful = Arc::clone(&f);
        let filtered = self.record_by_record(
            "filter",
            Location::caller(),
            self.unfused,
            |operator, fused| {
                Arc::new(move |ctx, data, emit| {
                    fused(ctx, data, &mut |record| {
                        ctx.enter(operator);
                        if f(&record) {
                            emit(record);
                        }
                    });
                })
            },
            move |record, made| {
                if careful(&record) {
                    made.push(record);
                }
            },
        );
        self.like(filtered)
    }

    /// Applies `f` to every record and hands on everything that it returns.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(pairs: &DStream<(u64, u64)>) {
    /// // What is returned owns its records. To borrow from the record, see `flat_map_into`.
    /// let numbers: DStream<u64> = pairs.flat_map(|(from, to)| from..to);
    /// # let _ = numbers;
    /// # }
    /// ```
    #[track_caller]
    pub fn flat_map<I>(&self, f: impl Fn(T) -> I + Send + Sync + 'static) -> DStream<I::Item>
    where
        I: IntoIterator,
        I::Item: Record,
    {
        let f = Arc::new(f);
        let careful = Arc::clone(&f);
        self.record_by_record(
            "flat_map",
            Location::caller(),
            DStream::unfuse,
            |operator, fused| {
                Arc::new(move |ctx, data, emit| {
                    fused(ctx, data, &mut |record| {
                        ctx.enter(operator);
                        for item in f(record) {
                            emit(item);
                            ctx.enter(operator); // the iterator's code is this operator's too
                        }
                    });
                })
            },
            move |record, made| made.extend(careful(record)),
        )
    }

    /// Like [`Self::flat_map`], but `f` emits instead of returning: nothing is collected, and
    /// results may borrow from the record while they are made.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(lines: &DStream<String>) {
    /// let words: DStream<String> = lines.flat_map_into(|line, out| {
    ///     for word in line.split_whitespace() {
    ///         out.emit(word.to_owned());
    ///     }
    /// });
    /// # let _ = words;
    /// # }
    /// ```
    #[track_caller]
    pub fn flat_map_into<U: Record>(
        &self,
        f: impl Fn(T, &mut Emitter<'_, U>) + Send + Sync + 'static,
    ) -> DStream<U> {
        let f = Arc::new(f);
        let careful = Arc::clone(&f);
        self.record_by_record(
            "flat_map_into",
            Location::caller(),
            DStream::unfuse,
            |operator, fused| {
                Arc::new(move |ctx, data, emit| {
                    fused(ctx, data, &mut |record| {
                        ctx.enter(operator);
                        let mut emit = |item| {
                            emit(item);
                            ctx.enter(operator);
                        };
                        f(record, &mut Emitter { emit: &mut emit });
                    });
                })
            },
            move |record, made| {
                let mut emit = |item| made.push(item);
                careful(record, &mut Emitter { emit: &mut emit });
            },
        )
    }
}
