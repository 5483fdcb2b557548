//! Text for people and programs: messages on standard error, cells and tables, files that only their owner can read.

pub(crate) mod cell;
pub(crate) mod json;
pub(crate) mod tone;
pub(crate) mod note;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod meter;
pub(crate) mod private_file;
