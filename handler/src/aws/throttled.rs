use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use tokio::time::sleep;

/// Error codes of a request that DynamoDB had no capacity for.
const CODES: [&str; 3] =
    ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"];

/// Waits between the tries of one request, beyond the client's own. A partition gives 1,000 write units in a second, and
/// an item of 350 KB takes a third of them.
const FIRST_PAUSE: Duration = Duration::from_millis(350);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Most tries of a request. Whoever waits for it usually ends it before.
const MAX_TRIES: u32 = 60;

/// Makes a request again as long as DynamoDB throttles it: for writes that are large by themselves, which the client's
/// few tries would not get through.
pub(crate) async fn until_not_throttled<T, E: ProvideErrorMetadata, F>(
    is_throttled: impl Fn(&E) -> bool,
    mut send: impl FnMut() -> F,
) -> Result<T, SdkError<E>>
where
    F: Future<Output = Result<T, SdkError<E>>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..MAX_TRIES {
        match send().await {
            Err(SdkError::ServiceError(error))
                if is_throttled(error.err())
                    || error.err().code().is_some_and(|code| CODES.contains(&code)) =>
            {
                sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
            answer => return answer,
        }
    }
    send().await
}
