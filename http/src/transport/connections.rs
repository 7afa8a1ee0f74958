//! Which connections there are, what each of them is doing, and which one goes when there is no
//! place for another.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A connection that has taken back so many more requests than it got answers is closed.
const MAX_CANCELLED: u32 = 1024;

/// All connections.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    most_per_address: usize,
    table: Mutex<Table>,
    /// A connection has gone or has come to rest.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    count: usize,
    by_address: BTreeMap<IpAddr, usize>,
    /// Those that rest, the one that has done so for longest first.
    resting: BTreeMap<u64, Arc<Seat>>,
    next_ticket: u64,
    /// Those that were told to go, and have not gone yet.
    leaving: usize,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Seat {
    connections: Arc<Connections>,
    address: IpAddr,
    state: Mutex<State>,
    /// It is told to go.
    sentenced: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests that are being answered.
    working: usize,
    /// Answers that the transport has not taken yet.
    untaken: usize,
    /// When the last of them changed.
    since: Instant,
    /// Since when the socket takes no bytes.
    blocked_since: Option<Instant>,
    /// Its place among those that rest.
    ticket: Option<u64>,
    cancelled: u32,
    sentence: Option<Sentence>,
    has_gone: bool,
}

/// Why a connection ends that could go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sentence {
    /// It rested for longest when there was no place for another one.
    Shed,
    /// It took back too many of its requests.
    Resets,
}

/// What a connection waits for, if it is its client's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// The head of a request.
    Head(Instant),
    /// That its client takes an answer.
    Taking(Instant),
}

impl Connections {
    pub(crate) fn new(most: usize, most_per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_per_address,
            table: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// A place for a connection, once there is one: where all are taken, the connection that has
    /// rested for longest goes. `None` if its address has as many as it may have.
    ///
    /// One task may wait in it at a time.
    pub(crate) async fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        loop {
            {
                let mut table = self.table();
                let of_address = table.by_address.get(&address).copied().unwrap_or(0);
                if of_address >= self.most_per_address {
                    return None;
                }
                if table.count < self.most {
                    table.count += 1;
                    *table.by_address.entry(address).or_default() += 1;
                    drop(table);
                    return Some(Place(Seat::new(Arc::clone(self), address)));
                }
            }
            self.shed_one();
            // A change in between is kept for us.
            self.changed.notified().await;
        }
    }

    /// Tells the connection that has rested for longest to go, unless one is on its way already.
    fn shed_one(&self) {
        loop {
            let oldest = {
                let mut table = self.table();
                if table.leaving > 0 {
                    return;
                }
                table.resting.pop_first()
            };
            let Some((_, seat)) = oldest else {
                return;
            };
            if seat.shed() {
                return;
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // It is never left half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn rests(&mut self, seat: &Arc<Seat>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.resting.insert(ticket, Arc::clone(seat));
        ticket
    }
}

// The table may be locked while the state of a seat is, and never the other way round.
impl Seat {
    fn new(connections: Arc<Connections>, address: IpAddr) -> Arc<Self> {
        let seat = Arc::new(Self {
            connections,
            address,
            state: Mutex::new(State {
                working: 0,
                untaken: 0,
                since: Instant::now(),
                blocked_since: None,
                ticket: None,
                cancelled: 0,
                sentence: None,
                has_gone: false,
            }),
            sentenced: Notify::new(),
        });
        seat.rest(&mut seat.state());
        seat
    }

    /// A request begins; `None` if the connection has been told to go: it must not be worked on.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Working> {
        let mut state = self.state();
        if state.sentence.is_some() {
            return None;
        }
        if let Some(ticket) = state.ticket.take() {
            self.connections.table().resting.remove(&ticket);
        }
        state.working += 1;
        drop(state);
        Some(Working {
            seat: Arc::clone(self),
            is_answered: false,
        })
    }

    /// The socket takes no bytes at the moment.
    pub(crate) fn is_blocked(&self) {
        let mut state = self.state();
        if state.blocked_since.is_none() {
            state.blocked_since = Some(Instant::now());
        }
    }

    /// The socket takes bytes again; or the handshake is done.
    pub(crate) fn moves(&self) {
        let mut state = self.state();
        state.blocked_since = None;
        state.since = Instant::now();
    }

    /// What it waits for, and since when.
    pub(crate) fn awaits(&self) -> Option<Awaits> {
        let state = self.state();
        match (state.blocked_since, state.working, state.untaken) {
            (Some(since), ..) => Some(Awaits::Taking(since)),
            (None, 0, 0) => Some(Awaits::Head(state.since)),
            (None, 0, _) => Some(Awaits::Taking(state.since)),
            (None, ..) => None,
        }
    }

    fn sentence(&self) -> Option<Sentence> {
        self.state().sentence
    }

    /// Until it is told to go.
    pub(crate) async fn sentenced(&self) -> Sentence {
        loop {
            if let Some(sentence) = self.sentence() {
                return sentence;
            }
            self.sentenced.notified().await;
        }
    }

    fn cancelled(&self, state: &mut State) {
        state.cancelled += 1;
        if state.cancelled > MAX_CANCELLED && state.sentence.is_none() {
            state.sentence = Some(Sentence::Resets);
            self.sentenced.notify_one();
        }
    }

    /// Something of a request is over: perhaps nothing is under way any more.
    fn rest(self: &Arc<Self>, state: &mut State) {
        state.since = Instant::now();
        let is_busy = state.working + state.untaken > 0;
        if !is_busy && !state.has_gone && state.sentence.is_none() {
            state.ticket = Some(self.connections.table().rests(self));
            self.connections.changed.notify_one();
        }
    }

    /// Whether it goes: not with a request that began in the meantime.
    fn shed(&self) -> bool {
        let mut state = self.state();
        let goes = state.working + state.untaken == 0 && !state.has_gone;
        if goes {
            state.ticket = None;
            state.sentence = Some(Sentence::Shed);
            self.connections.table().leaving += 1;
            self.sentenced.notify_one();
        }
        goes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a connection, free again when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Seat>);

impl Place {
    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.has_gone = true;
        let mut table = self.0.connections.table();
        if let Some(ticket) = state.ticket.take() {
            table.resting.remove(&ticket);
        }
        if state.sentence == Some(Sentence::Shed) {
            table.leaving -= 1;
        }
        table.count -= 1;
        if let Some(count) = table.by_address.get_mut(&self.0.address) {
            *count -= 1;
            if *count == 0 {
                table.by_address.remove(&self.0.address);
            }
        }
        self.0.connections.changed.notify_one();
    }
}

/// A request that is being answered. Dropped before it is, its client has taken it back.
#[derive(Debug)]
pub(crate) struct Working {
    seat: Arc<Seat>,
    is_answered: bool,
}

impl Working {
    /// There is an answer, which the transport takes next.
    pub(crate) fn answered(mut self) -> Untaken {
        self.is_answered = true;
        self.seat.state().untaken += 1;
        Untaken {
            seat: Arc::clone(&self.seat),
            is_taken: false,
            is_due: true,
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut state = self.seat.state();
        state.working -= 1;
        if !self.is_answered {
            self.seat.cancelled(&mut state);
        }
        self.seat.rest(&mut state);
    }
}

/// An answer that the transport has not taken yet. If it never does, it was not wanted any more.
#[derive(Debug)]
pub(crate) struct Untaken {
    seat: Arc<Seat>,
    /// A part of it was, at least.
    is_taken: bool,
    /// There is something to be taken. Otherwise the client waits for us.
    is_due: bool,
}

impl Untaken {
    /// The transport has taken what there was.
    pub(crate) fn taken(&mut self) {
        self.is_taken = true;
        let mut state = self.seat.state();
        if !self.is_due {
            self.is_due = true;
            state.working -= 1;
            state.untaken += 1;
        }
        state.since = Instant::now();
    }

    /// The transport would take more, and there is nothing yet.
    pub(crate) fn has_nothing(&mut self) {
        if self.is_due {
            self.is_due = false;
            let mut state = self.seat.state();
            state.untaken -= 1;
            state.working += 1;
        }
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        let mut state = self.seat.state();
        match self.is_due {
            true => state.untaken -= 1,
            false => state.working -= 1,
        }
        match self.is_taken {
            true => state.cancelled = state.cancelled.saturating_sub(1),
            false => self.seat.cancelled(&mut state),
        }
        self.seat.rest(&mut state);
    }
}
