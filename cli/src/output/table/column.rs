use crate::output::cell;

/// A column that is as wide as its cells need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) heading: &'static str,
    /// Numbers are aligned to the right.
    pub(crate) is_number: bool,
    pub(super) short_form: ShortForm,
    /// Whether the column is left out of a terminal that is too narrow, if all of its cells are `-`.
    pub(super) is_optional: bool,
    /// Width for cells that are not known when the first row is printed.
    pub(super) min_width: usize,
}

/// The form of a cell in a terminal that is too narrow for the whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShortForm {
    /// The whole cell: it is copied and given to other commands.
    Whole,
    /// The beginning of a text, with `…` if it is wider than this.
    Cut(usize),
    /// The first characters of an ID.
    Start(usize),
    /// The last digits of a sequence number, or those of a position with the end of its shard's ID and its user record.
    End(usize),
}

impl Column {
    /// A column of text that is never shortened.
    pub(crate) const fn text(heading: &'static str) -> Self {
        Column { heading, is_number: false, short_form: ShortForm::Whole, is_optional: false, min_width: 0 }
    }

    pub(crate) const fn number(heading: &'static str) -> Self {
        Column { is_number: true, ..Column::text(heading) }
    }

    /// Cuts cells that are wider than this if the terminal is too narrow.
    pub(crate) const fn cut(self, width: usize) -> Self {
        Column { short_form: ShortForm::Cut(width), ..self }
    }

    /// Shows the first characters of an ID if the terminal is too narrow.
    pub(crate) const fn start(self, chars: usize) -> Self {
        Column { short_form: ShortForm::Start(chars), ..self }
    }

    /// Shows the last digits of a sequence number if the terminal is too narrow.
    pub(crate) const fn end(self, digits: usize) -> Self {
        Column { short_form: ShortForm::End(digits), ..self }
    }

    /// Leaves the column out if the terminal is too narrow and no row has a value.
    pub(crate) const fn optional(self) -> Self {
        Column { is_optional: true, ..self }
    }

    /// Keeps room for cells of this width.
    pub(crate) const fn min_width(self, min_width: usize) -> Self {
        Column { min_width, ..self }
    }

    /// Returns the cell in its short form.
    pub(super) fn shorten(&self, text: &str) -> String {
        match self.short_form {
            ShortForm::Whole => text.to_owned(),
            ShortForm::Cut(width) => cell::text(text, width),
            ShortForm::Start(chars) => text.chars().take(chars).collect(),
            ShortForm::End(digits) => end(text, digits),
        }
    }

    /// Returns the width of the short form of cells that are so wide.
    pub(super) fn short_width(&self, width: usize) -> usize {
        let short = match self.short_form {
            ShortForm::Whole => width,
            ShortForm::Cut(width) | ShortForm::Start(width) => width,
            // The shard's number, the slash, and the user record's number are not known.
            ShortForm::End(digits) => digits + 1,
        };
        short.min(width)
    }
}

/// Shortens `shardId-000000000012/4959…888981:3` to `12/…88981:3`, and `4959…88981` to `…88981`.
fn end(text: &str, digits: usize) -> String {
    let (shard, position) = text.rsplit_once('/').map_or((None, text), |(shard, rest)| (Some(shard), rest));
    let (number, user_record) =
        position.split_once(':').map_or((position, None), |(number, id)| (number, Some(id)));
    let mut short = String::new();
    if let Some(shard) = shard {
        short.push_str(cell::short_shard(shard));
        short.push('/');
    }
    let length = number.chars().count();
    if length > digits + 1 {
        short.push('…');
        short.extend(number.chars().skip(length - digits));
    } else {
        short.push_str(number);
    }
    if let Some(id) = user_record {
        short.push(':');
        short.push_str(id);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_position_keeps_shard_and_user_record() {
        let position = "shardId-000000000012/49590338271490256608559692538361571095921575989136588898:31";
        let column = Column::text("POSITION").end(8);
        assert_eq!(column.shorten(position), "12/…36588898:31");
        assert_eq!(column.shorten("49590338271490256608559692538361571095921575989136588898"), "…36588898");
        assert_eq!(column.shorten("123456789"), "123456789");
        assert_eq!(column.shorten("-"), "-");
    }
}
