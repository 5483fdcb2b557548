//! An outage to try the function with. Delete it together with the order's member `simulateOutages`.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Number of times that each order has met the outage.
static MET: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);

/// Whether an order that is to meet the outage this many times meets it now. This process remembers; another one starts
/// anew.
pub(crate) fn is_met_by(order_id: &str, times: u32) -> bool {
    if times == 0 {
        return false;
    }
    // A count is right however the thread ended that held the lock.
    let mut met = MET.lock().unwrap_or_else(PoisonError::into_inner);
    let met = met.get_or_insert_default().entry(order_id.to_owned()).or_default();
    *met += 1;
    *met <= times
}
