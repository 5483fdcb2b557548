/// The end of a shard's ID that tells it from others: `12` for `shardId-000000000012`.
pub(super) fn short_shard(shard_id: &str) -> &str {
    let Some(number) = shard_id.strip_prefix("shardId-") else { return shard_id };
    let short = number.trim_start_matches('0');
    if short.is_empty() { "0" } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_tell_nothing() {
        assert_eq!(short_shard("shardId-000000000120"), "120");
        assert_eq!(short_shard("shardId-000000000000"), "0");
        assert_eq!(short_shard("left"), "left");
    }
}
