//! The program is built by a function that returns a result.
use highwater::prelude::*;

fn main() -> highwater::Result<()> {
    StreamingContext::builder("app.d").get_or_create(|ssc| {
        ssc.input::<String>("words").print();
    })?;
    Ok(())
}
