#![allow(missing_docs)]
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct FilterCriteria {}
impl FilterCriteria {
    pub fn admits(&self, _: &[u8]) -> bool {
        true
    }
    pub fn is_empty(&self) -> bool {
        true
    }
}
