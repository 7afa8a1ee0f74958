//! Asking a context for its states.

use crate::ask_error::AskError;
use crate::context::streaming_context::StreamingContext;
use crate::error::{Error, Result};
use crate::plan::program::{Readable, StateInfo};
use crate::queries::asked::Asked;
use crate::queries::json_state::JsonState;
use crate::queries::state_reader::StateReader;
use crate::record::{Key, State};
use std::any::TypeId;

impl StreamingContext {
    /// Asks for keys of the state `name`: that of an `update_state_by_key`, `update_state` or
    /// `map_with_state`, with keys of type `K` and states of type `S`. See [`StateReader`].
    ///
    /// # Errors
    /// [`AskError::NoSuchState`] if the program has no such state, it has other types, or it is
    /// that of a window, whose values are not what the program declared.
    pub fn state<K: Key, S: State>(&self, name: &str) -> Result<StateReader<K, S>> {
        let (index, info, readable) = self.readable(name)?;
        if readable.types != (TypeId::of::<K>(), TypeId::of::<S>()) {
            return Err(Error::from(AskError::NoSuchState(format!(
                "the state \"{name}\" is {}, not {} -> {}",
                info.type_names,
                std::any::type_name::<K>(),
                std::any::type_name::<S>()
            ))));
        }
        Ok(StateReader::new(self.asked(index, info)))
    }

    /// The same in JSON, for those who do not know the types of the program: see [`JsonState`].
    ///
    /// # Errors
    /// [`AskError::NoSuchState`] if the program has no such state, or it is that of a window.
    pub fn json_state(&self, name: &str) -> Result<JsonState> {
        let (index, info, readable) = self.readable(name)?;
        Ok((readable.json)(self.asked(index, info)))
    }

    /// The names of the states that can be asked for, in the order of their declaration.
    #[must_use]
    pub fn state_names(&self) -> Vec<String> {
        let states = self.core().plan.states.iter();
        let states = states.filter(|state| state.readable.is_some());
        states.map(|state| state.name.clone()).collect()
    }

    fn readable(&self, name: &str) -> Result<(usize, &StateInfo, &Readable)> {
        let mut states = self.core().plan.states.iter().enumerate();
        let found = states.find(|(_, state)| state.name == name);
        match found.map(|(index, info)| (index, info, info.readable.as_ref())) {
            Some((index, info, Some(readable))) => Ok((index, info, readable)),
            Some((_, info, None)) => Err(Error::from(AskError::NoSuchState(format!(
                "\"{name}\" is what {} keeps for itself and cannot be asked for (states are: {})",
                info.kind,
                self.state_names().join(", ")
            )))),
            None => Err(Error::from(AskError::NoSuchState(format!(
                "the program has no state \"{name}\" (it has: {})",
                self.state_names().join(", ")
            )))),
        }
    }

    fn asked(&self, index: usize, info: &StateInfo) -> Asked {
        let core = self.core();
        let groups = core.replayer.key_groups;
        Asked::new((&info.name, index), groups, &core.published, &info.readers)
    }
}
