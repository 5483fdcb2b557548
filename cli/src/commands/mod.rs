//! The commands of `kinesis-kit`, each in a file or folder of its name; `look` has those that read a stream as it is.

pub(crate) mod inspect;
pub(crate) mod look;
pub(crate) mod aggregate;
pub(crate) mod new;
pub(crate) mod invoke;
pub(crate) mod simulate;
pub(crate) mod put;
pub(crate) mod redrive;
pub(crate) mod replay;
pub(crate) mod quarantine;
pub(crate) mod journal;
pub(crate) mod checkpoint;
pub(crate) mod pause;
pub(crate) mod doctor;
pub(crate) mod shell;
