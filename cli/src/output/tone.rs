use anstyle::{AnsiColor, Style};

/// The weight of a text, which a terminal shows as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// The headings of a table.
    Heading,
    /// Work that was done as it should be.
    Success,
    /// Records that need attention: a partial failure, a warning.
    Warning,
    /// Failed or discarded records, and errors.
    Error,
}

impl Tone {
    pub(crate) fn style(self) -> Style {
        match self {
            Tone::Plain => Style::new(),
            Tone::Heading => Style::new().bold(),
            Tone::Success => AnsiColor::Green.on_default(),
            Tone::Warning => AnsiColor::Yellow.on_default(),
            Tone::Error => AnsiColor::Red.on_default(),
        }
    }
}
