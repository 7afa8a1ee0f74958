//! One request: what is looked at, in which order, and what it waits for.
//!
//! No thread of the connections waits for a state. A question that has no answer yet waits for a
//! batch as a task, and lists are read on other threads.

use crate::state_door::answer::{self, Refusal, Reply};
use crate::state_door::feed::Feed;
use crate::state_door::options::StateDoorOptions;
use crate::state_door::question::{Key, List, Question, Target};
use crate::state_door::turns::Turns;
use highwater_engine::wal::Lsn;
use highwater_engine::{Answer, AskError, Error, JsonState, Result};
use highwater_http::body::{self, Told};
use highwater_http::head::{self, text};
use highwater_http::service::{Access, Service};
use highwater_http::token;
use hyper::body::{Body, Incoming};
use hyper::{Method, Request};
use std::future::Future;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

/// What all requests share.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) states: Vec<Served>,
    pub(super) options: StateDoorOptions,
    pub(super) turns: Turns,
    pub(super) stop: watch::Receiver<bool>,
    /// It listens on the loopback interface: only programs of this machine are to reach it.
    pub(super) is_local: bool,
}

/// A state, in two ways of asking. Neither waits.
#[derive(Debug)]
pub(super) struct Served {
    /// Answers also while batches are replayed.
    pub(super) early: JsonState,
    /// Answers when that is over.
    pub(super) strict: JsonState,
}

impl Service for Door {
    type Body = Told;

    fn name(&self) -> &'static str {
        "states"
    }

    fn access(&self) -> &Access {
        &self.options.access
    }

    fn report_error(&self, reason: String) {
        tracing::warn!(reason, "the server of the states");
    }

    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let is_head = request.method() == Method::HEAD;
        let answer = self.take(request).await;
        let answer = answer.unwrap_or_else(|refusal| refusal.answer());
        if is_head {
            return body::head_of(answer);
        }
        answer
    }

    fn has_no_place(&self) -> Reply {
        let reason = "another connection has the place of this one";
        Refusal::busy(reason).closing().answer()
    }
}

impl Door {
    async fn take(&self, request: Request<Incoming>) -> Result<Reply, Refusal> {
        let (head, body) = request.into_parts();
        head::check(&head, self.is_local)?;
        token::check(&self.options.access.tokens, &head.headers)?;
        if ![Method::GET, Method::HEAD].contains(&head.method) {
            return Err(Refusal::only_get());
        }
        if !body.is_end_stream() {
            return Err(Refusal::bad("a question has no body").closing());
        }
        let question = Question::of(head.uri.path(), head.uri.query(), &self.options)?;
        let last_read = text(&head.headers, "last-event-id")?.map(str::to_owned);
        let is_head = head.method == Method::HEAD;
        drop((head, body));
        let deadline = Instant::now() + question.wait;
        match &question.target {
            Target::States => self.names(&question, deadline).await,
            Target::Key { state, key } => {
                self.get(self.state(state)?, key, &question, deadline).await
            }
            Target::List { state, list } => {
                let state = self.state(state)?;
                self.list(state, list, &question, deadline).await
            }
            Target::Changes { state } => {
                let state = self.state(state)?;
                self.follow(state, last_read, is_head, deadline).await
            }
        }
    }

    fn state(&self, name: &str) -> Result<&Served, Refusal> {
        let found = self.states.iter().find(|state| state.early.name() == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.states.iter().map(|state| state.early.name()).collect();
            let names = names.join(", ");
            Refusal::no_such_state(format!(
                "there is no state {name:?} here (there are: {names})"
            ))
        })
    }

    async fn names(&self, question: &Question, deadline: Instant) -> Result<Reply, Refusal> {
        // All of them are at the same batch.
        let as_of = match self.states.first() {
            Some(state) => {
                self.reach(state, question, deadline).await?;
                Some(checked(state.early.as_of()?, question.recovering)?)
            }
            None => None,
        };
        let names = self.states.iter().map(|state| state.early.name());
        Ok(answer::states(names, as_of.as_ref()))
    }

    async fn get(
        &self,
        state: &Served,
        key: &Key,
        question: &Question,
        deadline: Instant,
    ) -> Result<Reply, Refusal> {
        // Before it waits: it is no key at any batch.
        let json = state.early.key(key.as_json_key())?;
        self.reach(state, question, deadline).await?;
        let mut seen = None;
        let answer = loop {
            match state.early.get(key.as_json_key()) {
                Ok(answer) => break checked(answer, question.recovering)?,
                Err(error) => self.wait_after(state, error, &mut seen, deadline).await?,
            }
        };
        let as_of = answer.clone().map(drop);
        match &answer.value {
            Some(value) => Ok(answer::entry(&json, value, &as_of)),
            None => Err(Refusal::no_such_key(&json, as_of)),
        }
    }

    async fn list(
        &self,
        state: &Served,
        list: &List,
        question: &Question,
        deadline: Instant,
    ) -> Result<Reply, Refusal> {
        self.reach(state, question, deadline).await?;
        let mut seen = None;
        let listed = loop {
            let (early, wanted) = (state.early.clone(), list.clone());
            let place = self.turns.list()?;
            let scan = self.turns.scans.run(move || {
                let _place = place;
                let List {
                    prefix,
                    after,
                    limit,
                } = wanted;
                // One more than wanted tells whether there are more.
                early.list(&prefix, after.as_deref(), limit.saturating_add(1))
            });
            let listed = self.within(deadline, scan).await?;
            let listed = listed.ok_or_else(|| {
                Refusal::too_late("other lists are under way", state.early.as_of().ok())
            })?;
            match listed? {
                Ok(listed) => break checked(listed, question.recovering)?,
                Err(error) => self.wait_after(state, error, &mut seen, deadline).await?,
            }
        };
        Ok(answer::entries(
            &listed,
            list.limit,
            self.options.max_answer_bytes,
        ))
    }

    async fn follow(
        &self,
        state: &Served,
        last_read: Option<String>,
        is_head: bool,
        deadline: Instant,
    ) -> Result<Reply, Refusal> {
        checked(state.strict.as_of()?, false)?;
        let (events, told) = mpsc::channel(1);
        if is_head {
            return Ok(answer::feed(told));
        }
        let place = self.turns.feed()?;
        let mut seen = None;
        let changes = loop {
            match state.strict.changes() {
                Ok(changes) => break changes,
                Err(error) => self.wait_after(state, error, &mut seen, deadline).await?,
            }
        };
        let feed = Feed {
            events,
            scans: self.turns.scans.clone(),
            heartbeat: self.options.heartbeat,
            place,
        };
        tokio::spawn(feed.run(changes, last_read, self.stop.clone()));
        Ok(answer::feed(told))
    }

    /// Waits until the record that the client asks for is in the answers.
    async fn reach(
        &self,
        state: &Served,
        question: &Question,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let now = checked(state.early.as_of()?, question.recovering)?;
        match question.min_lsn.map(Lsn::new) {
            Some(lsn) if now.lsn <= lsn => self.wait_for(state, lsn, deadline).await,
            _ => Ok(()),
        }
    }

    /// Waits for what a question had no answer for.
    async fn wait_after(
        &self,
        state: &Served,
        error: Error,
        seen: &mut Option<Lsn>,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let Error::Ask(AskError::NotReady { lsn, .. }) = error else {
            return Err(error.into());
        };
        // First until the states may be looked at, as far as batches are now; then for a batch.
        let is_again = seen.replace(lsn) == Some(lsn);
        let goal = match is_again {
            true => lsn,
            false => Lsn::new(lsn.get().saturating_sub(1)),
        };
        self.wait_for(state, goal, deadline).await
    }

    /// Waits for a batch that has the record at `lsn`.
    async fn wait_for(&self, state: &Served, lsn: Lsn, deadline: Instant) -> Result<(), Refusal> {
        let _turn = self.turns.wait()?;
        match self.within(deadline, state.early.reaches(lsn)).await? {
            Some(reached) => Ok(reached?),
            None => {
                let reason = format!("no batch has the record at LSN {lsn} yet");
                Err(Refusal::too_late(reason, state.early.as_of().ok()))
            }
        }
    }

    /// What comes of it; `None` at the deadline.
    async fn within<T>(
        &self,
        deadline: Instant,
        wait: impl Future<Output = T>,
    ) -> Result<Option<T>, Refusal> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stopped| *stopped) => Err(Refusal::stopped()),
            done = timeout_at(deadline, wait) => Ok(done.ok()),
        }
    }
}

/// An answer that may be told: not one that may be older than before a restart, unless the client
/// wants that.
fn checked<T>(answer: Answer<T>, recovering: bool) -> Result<Answer<T>, Refusal> {
    match answer.recovering && !recovering {
        true => Err(Refusal::recovering(answer.map(drop))),
        false => Ok(answer),
    }
}
