use serde_json::Value;

use crate::FunctionError;

/// The error that a function reports, as JSON with `errorMessage`, `errorType` and perhaps `stackTrace`.
///
/// Lambda takes any body: what is not such JSON becomes the message as it is, and the type falls back to
/// `fallback_type`.
pub fn reported_error(body: &[u8], fallback_type: Option<&str>) -> FunctionError {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let text = |name| Some(json.as_ref()?.get(name)?.as_str()?.to_owned());
    let message = match (&json, text("errorMessage")) {
        (_, Some(message)) => message,
        (Some(Value::Object(_)), None) => String::new(),
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    let error_type = text("errorType")
        .or(fallback_type.map(str::to_owned))
        .unwrap_or_else(|| "Runtime.Unknown".to_owned());
    FunctionError::Thrown { error_type, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, fallback_type: Option<&str>, expected: (&str, &str)) {
        let (error_type, message) = expected;
        let expected =
            FunctionError::Thrown { error_type: error_type.to_owned(), message: message.to_owned() };
        assert_eq!(reported_error(body.as_bytes(), fallback_type), expected);
    }

    #[test]
    fn takes_what_there_is() {
        let whole = r#"{"errorMessage":"no","errorType":"Refusal","stackTrace":["a"]}"#;
        check(whole, None, ("Refusal", "no"));
        check(whole, Some("Header"), ("Refusal", "no"));
        check(r#"{"errorMessage":"no"}"#, Some("Header"), ("Header", "no"));
        check(r#"{"errorType":"Refusal"}"#, None, ("Refusal", ""));
        check("{}", None, ("Runtime.Unknown", ""));
        check(r#"{"errorMessage":1,"errorType":null}"#, None, ("Runtime.Unknown", ""));
        check("boom", Some("Header"), ("Header", "boom"));
        check(r#"["boom"]"#, None, ("Runtime.Unknown", r#"["boom"]"#));
        check("", None, ("Runtime.Unknown", ""));
    }
}
