/// The parts of a function's name or ARN: `arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME:QUALIFIER`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FunctionName {
    /// Without the version or alias.
    pub(crate) base: String,
    pub(crate) name: String,
    pub(crate) qualifier: String,
}

impl FunctionName {
    /// Reads any form that Lambda takes.
    pub(crate) fn parse(text: &str) -> Self {
        // A name may itself end in "function".
        let rest = match text.split_once(":function:") {
            Some((_, rest)) => rest,
            None => text.strip_prefix("function:").unwrap_or(text),
        };
        let head = &text[..text.len() - rest.len()];
        let (name, qualifier) = rest.split_once(':').unwrap_or((rest, ""));
        FunctionName { base: format!("{head}{name}"), name: name.to_owned(), qualifier: qualifier.to_owned() }
    }

    /// Whether both are versions or aliases of one function, as far as their texts say.
    pub(crate) fn is_same_function(&self, other: &FunctionName) -> bool {
        let is_arn = |name: &FunctionName| name.base.starts_with("arn:");
        if is_arn(self) && is_arn(other) { self.base == other.base } else { self.name == other.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_aliases_are_of_one_function() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:orders";
        let name = FunctionName::parse(&format!("{arn}:live"));
        assert_eq!(
            (name.base.as_str(), name.name.as_str(), name.qualifier.as_str()),
            (arn, "orders", "live")
        );
        for same in ["orders", "orders:7", arn, "123456789012:function:orders"] {
            assert!(FunctionName::parse(same).is_same_function(&name), "{same}");
        }
        for other in ["order", "live", "", "arn:aws:lambda:eu-west-1:210987654321:function:orders"] {
            assert!(!FunctionName::parse(other).is_same_function(&name), "{other}");
        }
    }

    #[test]
    fn a_name_may_end_in_function() {
        for head in
            ["", "function:", "123456789012:function:", "arn:aws:lambda:eu-west-1:123456789012:function:"]
        {
            for qualifier in ["", "live", "7"] {
                let base = format!("{head}order-function");
                let text = if qualifier.is_empty() { base.clone() } else { format!("{base}:{qualifier}") };
                let (name, qualifier) = ("order-function".to_owned(), qualifier.to_owned());
                assert_eq!(FunctionName::parse(&text), FunctionName { base, name, qualifier }, "{text}");
            }
        }
    }
}
