//! The guide: a chapter for each question that a user has, in the order in which they come up.
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
    running: "running.md",
    from_spark: "from-spark.md",
}
