//! The composition root: the one file that knows all rooms; start, reload, drain.
