/// A fault that is injected into an invocation.
///
/// A fate replaces the answer that the function gives. An invocation that comes to no answer by itself ends as it would
/// without one. How much of the work is done before depends on the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fate {
    /// No fault: the function's answer counts.
    #[default]
    Normal,
    /// It works, is not heard of until its time is up, and is killed.
    Timeout,
    /// It works, and its environment ends before the answer is out.
    Crash,
    /// It works and answers, and the answer does not arrive.
    LostResponse,
    /// Its time is up as far as the mapping can tell, but it goes on beside its own retry.
    Zombie,
}
