//! The guide: a chapter for each question that a user has, in the order in which they come up.
//!
//! 1. [First program](first_program)
//! 2. [Operators](operators), each with a program
//! 3. [State](state)
//! 4. [Windows](windows)
//! 5. [Errors](errors): records, batches, outputs; dead letters
//! 6. [Sources and rates](sources)
//! 7. [Outputs and their guarantees](outputs)
//! 8. [Recovery and code change](recovery)
//! 9. [Tuning](tuning): every setting
//! 10. [Testing your pipeline](testing)
//! 11. [Crash-test your own program in ten lines](crash_test)
//! 12. [Named streams over HTTP](streams)
//! 13. [Kafka producers, without a broker](kafka)
//! 14. [Running it](running)
//! 15. [Coming from Spark Streaming](from_spark), call by call
//!
//! The same chapters are a book in `docs/guide`. Every program in them is run by the tests.

/// The chapters. Links between them are those of the book; here the first definition of a link
/// counts, which leads to the module.
macro_rules! chapters {
    ($($name:ident: $file:literal,)*) => {$(
        #[doc = "[errors]: crate::guide::errors"]
        #[doc = "[operators]: crate::guide::operators"]
        #[doc = "[outputs]: crate::guide::outputs"]
        #[doc = "[recovery]: crate::guide::recovery"]
        #[doc = "[running]: crate::guide::running"]
        #[doc = "[sources]: crate::guide::sources"]
        #[doc = "[state]: crate::guide::state"]
        #[doc = "[testing]: crate::guide::testing"]
        #[doc = "[windows]: crate::guide::windows"]
        #[doc = ""]
        #[doc = include_str!(concat!("../docs/guide/src/", $file))]
        pub mod $name {}
    )*};
}

chapters! {
    first_program: "first-program.md",
    operators: "operators.md",
    state: "state.md",
    windows: "windows.md",
    errors: "errors.md",
    sources: "sources.md",
    outputs: "outputs.md",
    recovery: "recovery.md",
    tuning: "tuning.md",
    testing: "testing.md",
    crash_test: "crash-test.md",
    streams: "streams.md",
    kafka: "kafka.md",
    running: "running.md",
    from_spark: "from-spark.md",
}
