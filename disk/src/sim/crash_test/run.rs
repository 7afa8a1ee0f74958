//! A program with the power cut before every operation of the disk.

use super::cut::{Cut, VARIABLE};
use super::life::{BoxError, Closure, live};
use super::report::{CrashFailure, CrashReport};
use crate::SimDisk;
use crate::sim::rng::Rng;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Runs a program undisturbed, then once for each operation of the disk with the power cut there,
/// with the defaults of [`CrashTest`]. After each cut `check` looks at what is left.
///
/// ```
/// use highwater_disk::sim::crash_test;
/// use highwater_disk::{Disk, DiskFile as _, SimDisk};
/// use std::path::Path;
///
/// // A number in a file that is replaced as a whole.
/// fn store(disk: &SimDisk, n: u64) -> std::io::Result<()> {
///     if disk.files().contains(&"/new".into()) {
///         disk.remove_file(Path::new("/new"))?; // a crash left it
///     }
///     let file = disk.create_new(Path::new("/new"))?;
///     file.write_all_at(&n.to_le_bytes(), 0)?;
///     file.sync()?;
///     disk.rename(Path::new("/new"), Path::new("/number"))?;
///     disk.sync_dir(Path::new("/"))
/// }
///
/// let report = crash_test(
///     |disk, stored: &mut u64| {
///         for n in 1..=3 {
///             store(&disk, n)?;
///             *stored = n; // acknowledged
///         }
///         Ok(())
///     },
///     |disk, stored| {
///         let file = disk.read_file("/number").unwrap_or(vec![0; 8]);
///         let found = u64::from_le_bytes(file.as_slice().try_into()?);
///         assert!(found >= *stored, "{found} is left of {stored}");
///         *stored = found; // shown, so it must stay
///         Ok(store(&disk, found)?) // and the store can go on
///     },
/// );
/// println!("{report}");
/// assert_eq!((report.operations, report.cuts), (15, 16));
/// ```
///
/// # Panics
/// With the [`CrashFailure`]: it names the operation and its path, and gives a line to paste into
/// a shell that makes this cut alone.
#[track_caller]
pub fn crash_test<A: Default + Clone + PartialEq>(
    program: impl Fn(Arc<SimDisk>, &mut A) -> Result<(), BoxError>,
    check: impl Fn(Arc<SimDisk>, &mut A) -> Result<(), BoxError>,
) -> CrashReport {
    match CrashTest::new(program, check).run() {
        Ok(report) => report,
        #[allow(clippy::panic, reason = "that is how a test fails")]
        Err(failure) => panic!("{failure}"),
    }
}

/// A crash test with its settings: see [`crash_test`].
///
/// * The *program* opens a store on the disk that it is given, works with it, and notes in the
///   value that it is given (at first `A::default()`) what was acknowledged: right after the call
///   that promised durability has returned, never before. When the power is off every call fails;
///   then the program returns the error. What it returns then, and a panic, count for nothing.
/// * The *check* opens the store on what the cut has left, and returns an error, or panics, if
///   something is missing that was acknowledged, or something is there that never was written. It
///   may write too. What it was shown it may note in the value: after the next cut it must be
///   there still.
///
/// The power is cut before each operation that could change what a cut leaves
/// ([`SimDisk::mutations`]), and after the last one. Which un-synced sectors and names survive
/// follows from the cut and the seed. After every fourth cut the power fails once more, somewhere
/// in the recovery.
///
/// The program must do the same whenever it runs: no threads, no clock, no chance. A log of
/// `highwater-wal` does with `Background::Inline`, small segments and
/// `.disk(disk)` among its `Options`. Two undisturbed runs are compared before any cut.
///
/// The environment variable `HIGHWATER_CRASH` makes every crash test of the process run one cut
/// alone, for example `HIGHWATER_CRASH="op=12 seed=0"`. A failure prints the line.
pub struct CrashTest<'a, A> {
    program: Box<Closure<'a, A>>,
    check: Box<Closure<'a, A>>,
    seeds: Range<u64>,
    max_cuts: u64,
    again_every: u64,
    only: Option<String>,
}

/// Of so many operations two undisturbed runs are compared one by one.
const COMPARED: usize = 100_000;

impl<'a, A: Default + Clone + PartialEq> CrashTest<'a, A> {
    /// A crash test with one seed, at most 10,000 cuts, and a second cut in the recovery after
    /// every fourth.
    ///
    /// ```
    /// use highwater_disk::sim::CrashTest;
    /// use highwater_disk::{Disk, DiskFile as _};
    /// use std::path::Path;
    /// let careless = CrashTest::new(
    ///     |disk, written: &mut bool| {
    ///         disk.create_new(Path::new("/a"))?.write_all_at(b"hello", 0)?;
    ///         *written = true; // a promise that nothing keeps
    ///         Ok(())
    ///     },
    ///     |disk, written| {
    ///         assert!(!*written || disk.read_file("/a").is_some(), "the file is lost");
    ///         Ok(())
    ///     },
    /// );
    /// let failure = careless.seeds(0..20).run().expect_err("nothing was synced");
    /// assert!(failure.what.contains("the file is lost"), "{failure}");
    /// ```
    #[must_use]
    pub fn new(
        program: impl Fn(Arc<SimDisk>, &mut A) -> Result<(), BoxError> + 'a,
        check: impl Fn(Arc<SimDisk>, &mut A) -> Result<(), BoxError> + 'a,
    ) -> Self {
        Self {
            program: Box::new(program),
            check: Box::new(check),
            seeds: 0..1,
            max_cuts: 10_000,
            again_every: 4,
            only: None,
        }
    }

    /// Sets the seeds (default: `0..1`). Each cut is followed by one restart for each seed, and
    /// each shows another outcome: other sectors and names survive.
    ///
    /// ```
    /// # use highwater_disk::{Disk, sim::CrashTest};
    /// # let program = |disk: std::sync::Arc<highwater_disk::SimDisk>, made: &mut bool| {
    /// #     disk.create_dir_all("/a".as_ref())?;
    /// #     *made = true;
    /// #     Ok(())
    /// # };
    /// let report = CrashTest::new(program, |_, _| Ok(())).seeds(0..10).run()?;
    /// assert_eq!(report.restarts, 10 * report.cuts);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// Sets how often the power is cut at most (default: 10,000). If the program makes more
    /// operations, the cuts are spread evenly over them, from one that the first seed chooses.
    ///
    /// ```
    /// # use highwater_disk::{Disk, sim::CrashTest};
    /// # let program = |disk: std::sync::Arc<highwater_disk::SimDisk>, made: &mut u32| {
    /// #     for name in ["/a", "/b", "/c", "/d"] {
    /// #         disk.create_new(name.as_ref())?;
    /// #         *made += 1;
    /// #     }
    /// #     Ok(())
    /// # };
    /// let report = CrashTest::new(program, |_, _| Ok(())).max_cuts(2).run()?;
    /// assert!(report.cuts <= 2 && report.operations > 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn max_cuts(mut self, cuts: u64) -> Self {
        self.max_cuts = cuts.max(1);
        self
    }

    /// Sets after how many cuts the power fails once more, before some operation of the check
    /// (default: 4). 1 is after each, 0 never. A check without operations is not cut.
    ///
    /// ```
    /// # use highwater_disk::{Disk, sim::CrashTest};
    /// # let program = |disk: std::sync::Arc<highwater_disk::SimDisk>, made: &mut bool| {
    /// #     disk.create_dir_all("/a".as_ref())?;
    /// #     *made = true;
    /// #     Ok(())
    /// # };
    /// let open = |disk: std::sync::Arc<highwater_disk::SimDisk>, _: &mut bool| {
    ///     disk.create_dir_all("/a".as_ref())?;
    ///     Ok(())
    /// };
    /// let report = CrashTest::new(program, open).cut_recovery_every(1).run()?;
    /// assert_eq!(report.cuts_in_recovery, report.restarts);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cut_recovery_every(mut self, cuts: u64) -> Self {
        self.again_every = cuts;
        self
    }

    /// Makes one cut alone, named as a failure names it: a bug that is mended stays tested. The
    /// environment variable `HIGHWATER_CRASH` goes first.
    ///
    /// ```
    /// # use highwater_disk::{Disk, sim::CrashTest};
    /// # let program = |disk: std::sync::Arc<highwater_disk::SimDisk>, made: &mut bool| {
    /// #     disk.create_dir_all("/a".as_ref())?;
    /// #     *made = true;
    /// #     Ok(())
    /// # };
    /// let report = CrashTest::new(program, |_, _| Ok(())).only("op=0 seed=3").run()?;
    /// assert_eq!(report.cuts, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn only(mut self, cut: impl Into<String>) -> Self {
        self.only = Some(cut.into());
        self
    }

    /// Runs all of it.
    ///
    /// # Errors
    /// The first cut after which the check fails. Also, without any cut: if program or check fail
    /// undisturbed, if two undisturbed runs differ, if the program makes no operation on the disk
    /// or acknowledges nothing, and if the one cut that is asked for has no name that is known.
    ///
    /// ```
    /// use highwater_disk::sim::CrashTest;
    /// let idle = CrashTest::new(|_, _: &mut u64| Ok(()), |_, _| Ok(()));
    /// let failure = idle.run().expect_err("it uses no disk");
    /// println!("{failure}");
    /// ```
    pub fn run(&self) -> Result<CrashReport, Box<CrashFailure>> {
        let mut report = CrashReport {
            operations: 0,
            cuts: 0,
            restarts: 0,
            cuts_in_recovery: 0,
            only: std::env::var(VARIABLE).ok().or_else(|| self.only.clone()),
        };
        if let Some(text) = &report.only {
            let cut = Cut::parse(text).map_err(CrashFailure::undisturbed)?;
            let ended = self.cut_program(cut)?;
            self.recover(&ended, cut)?;
            report.cuts = 1;
            report.restarts = 1;
            report.cuts_in_recovery = u64::from(cut.again.is_some());
            return Ok(report);
        }
        report.operations = self.undisturbed()?;
        for op in self.operations_to_cut(report.operations) {
            self.try_operation(op, &mut report)?;
        }
        Ok(report)
    }

    /// Cuts the power before operation `op`, once, and restarts with every seed.
    fn try_operation(&self, op: u64, report: &mut CrashReport) -> Result<(), Box<CrashFailure>> {
        let first = Cut {
            op,
            seed: self.seeds.start,
            again: None,
        };
        let ended = self.cut_program(first)?;
        report.cuts += 1;
        for seed in self.seeds.clone() {
            let cut = Cut { seed, ..first };
            let recovery = self.recover(&ended, cut)?;
            report.restarts += 1;
            let again = self.again_every > 0 && report.restarts.is_multiple_of(self.again_every);
            if again && recovery > 0 {
                let at = Rng::new(cut.draws()[1]).below(recovery);
                let again = Some(at);
                self.recover(&ended, Cut { again, ..cut })?;
                report.cuts_in_recovery += 1;
            }
        }
        Ok(())
    }

    /// The operations before which the power is cut; the last one is the end of the program.
    fn operations_to_cut(&self, operations: u64) -> impl Iterator<Item = u64> + use<A> {
        let step = (operations + 1).div_ceil(self.max_cuts).max(1);
        let first = match step {
            1 => 0,
            _ => Rng::new(self.seeds.start).below(step),
        };
        let every = (0..).map(move |n| first + n * step);
        every.take_while(move |op| *op <= operations)
    }

    /// Runs the program twice, and the check: how many operations the program makes.
    fn undisturbed(&self) -> Result<u64, Box<CrashFailure>> {
        if self.seeds.is_empty() {
            return refuse("there is no seed, so no cut: give a range like 0..10");
        }
        let ((disk, mut acknowledged), (second, also)) = (self.run_program()?, self.run_program()?);
        let differ = match difference(&disk, &second) {
            None if acknowledged != also => Some("they acknowledge different things".to_owned()),
            found => found,
        };
        if let Some(differ) = differ {
            return refuse(format!("{UNEQUAL}: {differ}. {WHAT_TO_DO}"));
        }
        let operations = disk.mutations();
        if operations == 0 {
            return refuse(
                "the program makes no operation on the disk that it is given, so nothing is \
                 proven: open the store on it (with a log: `Options::disk`)",
            );
        }
        if acknowledged == A::default() {
            return refuse(
                "the program acknowledges nothing, so nothing is proven: note in the value that \
                 it is given what is durable",
            );
        }
        match live(&*self.check, &disk.snapshot(), &mut acknowledged) {
            Ok(()) => Ok(operations),
            Err(e) => refuse(format!("the check fails without a power cut: {e}")),
        }
    }

    /// One undisturbed run: what it leaves, and what it acknowledges.
    fn run_program(&self) -> Result<(SimDisk, A), Box<CrashFailure>> {
        let (disk, mut acknowledged) = (SimDisk::new(), A::default());
        disk.note_mutations(COMPARED);
        if let Err(e) = live(&*self.program, &disk, &mut acknowledged) {
            return refuse(format!("the program fails undisturbed: {e}"));
        }
        if !disk.is_alive() {
            return refuse("the program cuts the power itself: leave that to the crash test");
        }
        Ok((disk, acknowledged))
    }

    /// Runs the program to the cut.
    fn cut_program(&self, cut: Cut) -> Result<Ended<A>, Box<CrashFailure>> {
        let (disk, mut acknowledged) = (SimDisk::new(), A::default());
        disk.cut_power_before(cut.op);
        live(&*self.program, &disk, &mut acknowledged)
            .map_err(|e| failure(cut, "which was not reached", &format!("the program: {e}")))?;
        let operation = match disk.power_cut_at() {
            Some(operation) => operation,
            None if disk.mutations() == cut.op => "at the end of the program".to_owned(),
            None => {
                let made = disk.mutations();
                let what = format!("the program ended after {made} operations. {WHAT_TO_DO}");
                return Err(failure(cut, "which was not reached", &what));
            }
        };
        disk.cut_power_now();
        Ok(Ended {
            disk,
            acknowledged,
            operation,
        })
    }

    /// Restarts after a cut, and checks: how many operations the check made.
    fn recover(&self, ended: &Ended<A>, cut: Cut) -> Result<u64, Box<CrashFailure>> {
        let fail = |what: String| failure(cut, &ended.operation, &what);
        let [first, second] = cut.draws();
        let mut disk = ended.disk.restart_after_power_cut(first);
        let mut acknowledged = ended.acknowledged.clone();
        let mut after = "after the restart".to_owned();
        if let Some(again) = cut.again {
            disk.cut_power_before(again);
            live(&*self.check, &disk, &mut acknowledged)
                .map_err(|e| fail(format!("{after}: {e}")))?;
            let operation = disk.power_cut_at().unwrap_or_else(|| "its end".to_owned());
            after = format!("{after}, a cut in the recovery ({operation}) and another restart");
            disk.cut_power_now();
            disk = disk.restart_after_power_cut(second);
        }
        live(&*self.check, &disk, &mut acknowledged).map_err(|e| fail(format!("{after}: {e}")))?;
        Ok(disk.mutations())
    }
}

fn refuse<T>(what: impl Into<String>) -> Result<T, Box<CrashFailure>> {
    Err(CrashFailure::undisturbed(what))
}

/// A program that met its cut.
struct Ended<A> {
    disk: SimDisk,
    acknowledged: A,
    operation: String,
}

fn failure(cut: Cut, operation: &str, what: &str) -> Box<CrashFailure> {
    Box::new(CrashFailure {
        cut: Some(cut.to_string()),
        operation: Some(operation.to_owned()),
        what: what.to_owned(),
        paste: Some(cut.line_to_paste()),
    })
}

const UNEQUAL: &str = "two undisturbed runs of the program differ, so a cut could not be repeated";
const WHAT_TO_DO: &str = "It must do the same whenever it runs: no threads (a log: `Background::Inline`), no \
     clock, no chance";

/// The first operation in which two runs differ.
fn difference(one: &SimDisk, other: &SimDisk) -> Option<String> {
    let (made, also) = (one.noted_mutations(), other.noted_mutations());
    let at = (0..made.len().max(also.len())).find(|at| made.get(*at) != also.get(*at));
    let name = |of: &[String], at: usize| of.get(at).map_or("none", String::as_str).to_owned();
    match at {
        Some(at) => Some(format!(
            "operation {at} is {} in one and {} in the other",
            name(&made, at),
            name(&also, at)
        )),
        None if one.mutations() != other.mutations() => Some(format!(
            "one makes {} operations, the other {}",
            one.mutations(),
            other.mutations()
        )),
        None => None,
    }
}

impl<A> fmt::Debug for CrashTest<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashTest")
            .field("seeds", &self.seeds)
            .field("max_cuts", &self.max_cuts)
            .field("again_every", &self.again_every)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}
