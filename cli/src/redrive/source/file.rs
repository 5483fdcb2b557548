use std::{cell::RefCell, collections::VecDeque, path::Path};

use serde_json::value::RawValue;

use super::{FailureRecord, FailureRecordError, Found, Handle};
use crate::{
    error::{Error, json_fault},
    input::Input,
};

/// A file with failure records: JSON, one after the other, as `simulate --failures` writes them.
#[derive(Debug)]
pub(crate) struct FailureFile {
    found: RefCell<VecDeque<Found>>,
}

impl FailureFile {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let input = Input::read(path)?;
        let mut found = VecDeque::new();
        let values = serde_json::Deserializer::from_slice(&input.bytes).into_iter::<Box<RawValue>>();
        for (index, value) in values.enumerate() {
            let record = match value {
                Ok(value) => FailureRecord::parse(value.get().as_bytes()),
                Err(error) => {
                    let fault =
                        format!("{} (line {}, column {})", json_fault(&error), error.line(), error.column());
                    Err(FailureRecordError::Json { fault })
                }
            };
            let name = format!("{}#{}", input.name, index + 1);
            found.push_back(Found { name, record, handle: Handle::None });
        }
        Ok(FailureFile { found: RefCell::new(found) })
    }

    pub(super) fn next(&self) -> Option<Found> {
        self.found.borrow_mut().pop_front()
    }
}
