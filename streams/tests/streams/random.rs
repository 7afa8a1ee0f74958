//! Random programs without a crash.

use crate::model::{Model, Op};
use crate::saved_seeds;
use crate::world::{ask, expected, open, program, seen};
use highwater_disk::SimDisk;
use proptest::prelude::*;
use std::sync::Arc;

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(200, |n| n.parse().unwrap())
}

proptest! {
    #![proptest_config(saved_seeds::config(cases(), env!("CARGO_MANIFEST_DIR"), "random"))]

    /// Each answer is that of the model, and so is everything that is seen in the end, also after
    /// a restart.
    #[test]
    fn every_answer_is_that_of_the_model(program in program(60)) {
        let disk = Arc::new(SimDisk::new());
        let mut streams = open(disk.clone()).unwrap();
        let mut model = Model::default();
        for op in &program {
            match op {
                Op::Reopen => {
                    drop(streams);
                    streams = open(disk.clone()).unwrap();
                }
                Op::Tend => streams.tend().unwrap(),
                Op::Checkpoint => streams.checkpoint().unwrap(),
                _ => {}
            }
            let told = ask(&streams, &model, op).unwrap().wait().unwrap();
            prop_assert_eq!(told, model.apply(op), "{:?}", op);
        }
        prop_assert_eq!(seen(&streams).unwrap(), expected(&model));
        drop(streams);
        prop_assert_eq!(seen(&open(disk).unwrap()).unwrap(), expected(&model));
    }
}
