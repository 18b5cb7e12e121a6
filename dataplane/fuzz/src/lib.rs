//! What the fuzz targets do with their input. A test replays the seeds through the same functions.

#[path = "../../tests/packets/second_parser/mod.rs"]
mod second_parser;

mod gate;
mod parser;
mod script;

pub use self::parser::parser;
pub use self::script::{flows, fragments};
