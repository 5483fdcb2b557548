use std::fmt;

/// Milliseconds since the start, for people: `00:00:01.264`, `1d 02:03:04.005`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elapsed(pub(super) u64);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, milliseconds) = (self.0 / 1000, self.0 % 1000);
        let (minutes, hours) = (seconds / 60, seconds / 3600);
        if hours >= 24 {
            write!(f, "{}d ", hours / 24)?;
        }
        write!(f, "{:02}:{:02}:{:02}.{milliseconds:03}", hours % 24, minutes % 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_shown_if_there_are_any() {
        let shown = |milliseconds| Elapsed(milliseconds).to_string();
        assert_eq!(shown(264), "00:00:00.264");
        assert_eq!(shown(86_399_999), "23:59:59.999");
        assert_eq!(shown(93_784_005), "1d 02:03:04.005");
    }
}
