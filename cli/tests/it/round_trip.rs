use proptest::{collection::vec, option, prelude::*};
use serde_json::json;

use base64::prelude::*;

use crate::kit::kit;

/// A user record as `aggregate` reads it.
fn line() -> impl Strategy<Value = serde_json::Value> {
    let payload = vec(any::<u8>(), 0..100);
    (any::<char>(), ".{0,20}", option::of(any::<u128>()), payload).prop_map(
        |(first, rest, hash_key, payload)| {
            json!({
                "partitionKey": format!("{first}{rest}"),
                "explicitHashKey": hash_key.map(|hash_key| hash_key.to_string()),
                "data": BASE64_STANDARD.encode(payload),
            })
        },
    )
}

proptest! {
    // Each runs four processes.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_aggregated_is_inspected_again(lines in vec(line(), 2..40), size_limit in 500usize..3000) {
        let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let event = kit(&format!("aggregate --size-limit {size_limit}"), input);
        prop_assert_eq!(event.exit_code, Some(0), "{}", event.stderr);
        let inspected = kit("inspect --format json", &event.stdout);
        let told: Vec<serde_json::Value> =
            inspected.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        prop_assert_eq!(told.len(), lines.len());
        for (line, told) in lines.iter().zip(&told) {
            prop_assert_eq!(&line["partitionKey"], &told["partitionKey"]);
            prop_assert_eq!(&line["data"], &told["data"]);
            // Kinesis does not hand out that of a record which was put alone.
            let hash_key = if told["aggregated"] == true { &line["explicitHashKey"] } else { &json!(null) };
            prop_assert_eq!(hash_key, &told["explicitHashKey"]);
        }
        // And what was inspected is aggregated again, if it was aggregated as a whole.
        if told.iter().all(|line| line["aggregated"] == true) {
            let again = kit(&format!("aggregate --size-limit {size_limit}"), &inspected.stdout);
            prop_assert_eq!(again, event);
        }
    }
}
