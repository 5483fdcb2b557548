use std::{fmt, sync::Arc};

/// A function that sees the output of all processes of a program, in the order in which it is passed on, in pieces that may
/// end within a line.
#[derive(Clone)]
pub struct OutputObserver(Arc<Observe>);

type Observe = dyn Fn(&[u8]) + Send + Sync;

impl OutputObserver {
    /// Makes an observer of a function, which is called on another thread and must not block.
    pub fn new(observe: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        OutputObserver(Arc::new(observe))
    }

    pub(super) fn observe(&self, bytes: &[u8]) {
        (self.0)(bytes);
    }
}

impl fmt::Debug for OutputObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutputObserver")
    }
}
