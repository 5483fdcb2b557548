/// What is made to happen to an invocation.
///
/// A fate replaces the answer that the function gives. An invocation that comes to no answer by itself (it crashes, or
/// its timeout passes) ends as it would without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Fate {
    /// Nothing: the function's answer counts.
    #[default]
    Normal,
    /// The function does its work; then its answer is not taken, and its process is killed as if its time were up:
    /// [`FunctionError::Timeout`](crate::FunctionError::Timeout), without waiting for it.
    Timeout,
    /// The function does its work; then its answer is not taken, and its process is killed:
    /// [`FunctionError::Crash`](crate::FunctionError::Crash).
    Crash,
    /// The function does its work and its environment lives on, but the answer is lost:
    /// [`FunctionError::LostResponse`](crate::FunctionError::LostResponse).
    LostResponse,
    /// The answer is [`FunctionError::Timeout`](crate::FunctionError::Timeout) at once. An environment is put aside with
    /// the event, and gets it at the moment at which the function's next invocation gets its own: the work runs beside its
    /// retry. Its answer is ignored, and then the environment can be used again. Without a next invocation the work is
    /// never done.
    Zombie,
}
