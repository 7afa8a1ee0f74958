//! The macros of `tracing` that the log uses, in a build without it. They look at nothing: values
//! of an event are named in code that never runs.

/// An event: fields as `%name`, `?name`, `name`, or `name = value`, then the message.
macro_rules! event {
    ($message:literal) => {};
    ($(%)? $name:ident, $($rest:tt)+) => {
        $crate::facade::tracing::event!($name = $name, $($rest)+)
    };
    (? $name:ident, $($rest:tt)+) => {
        $crate::facade::tracing::event!($name = $name, $($rest)+)
    };
    ($name:ident = %$value:expr, $($rest:tt)+) => {
        $crate::facade::tracing::event!($name = $value, $($rest)+)
    };
    ($name:ident = $value:expr, $($rest:tt)+) => {{
        let _never_called = || {
            let _ = &$value;
        };
        $crate::facade::tracing::event!($($rest)+);
    }};
}

pub(crate) use event;
pub(crate) use event as debug;
pub(crate) use event as error;
pub(crate) use event as info;
pub(crate) use event as warn;
