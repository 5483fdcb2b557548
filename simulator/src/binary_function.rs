use crate::{Answer, BinaryFunction, BoxError, Function, Invocation};

/// In real time: invocations run beside each other, and take as long as they take. Under virtual time, wrap it into an
/// [`InTurn`](crate::InTurn).
///
/// The timeout is that of the [`BinaryOptions`](crate::BinaryOptions); so is the ARN that the program is told.
impl Function for BinaryFunction {
    async fn invoke(&self, invocation: Invocation<'_>) -> Result<Answer, BoxError> {
        let event = invocation.event_json().into();
        Ok(self.invoke(event, invocation.request_id(), invocation.fate()).await?)
    }
}
