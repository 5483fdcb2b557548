/// What is to happen to an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fate {
    /// Whatever the function makes of it.
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
