//! The commands of `ravelin`: each takes its arguments and where to write, and answers with an exit status.

pub mod check;
