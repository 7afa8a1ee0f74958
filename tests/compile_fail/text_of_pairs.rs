//! A text file needs records that are text: pairs are none.
use highwater::prelude::*;

fn program(ssc: &StreamScope) {
    ssc.input::<(String, u64)>("counts")
        .save_as_text_files("counts out", "out/counts");
}

fn main() {
    let _ = program;
}
