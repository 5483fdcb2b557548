use super::column::Column;
use crate::output::cell;

/// Spaces between columns.
pub(super) const GAP: usize = 2;

/// Spaces before the second and later lines of a row.
pub(super) const INDENT: usize = 2;

/// The width of a column's cells in the first rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellWidth {
    pub(super) whole: usize,
    pub(super) short: usize,
    /// Whether no row has a value.
    pub(super) is_empty: bool,
}

impl CellWidth {
    pub(super) fn of(column: &Column) -> Self {
        let heading = cell::width(column.heading);
        let short = column.short_width(column.min_width);
        CellWidth {
            whole: heading.max(column.min_width),
            short: heading.max(short),
            // Cells that are still to come are not known.
            is_empty: column.min_width == 0,
        }
    }

    pub(super) fn add(&mut self, column: &Column, cell: &str) {
        self.whole = self.whole.max(cell::width(cell));
        self.short = self.short.max(cell::width(&column.shorten(cell)));
        self.is_empty &= cell == "-";
    }
}

/// The place of each column in the lines of a row.
///
/// The first of these that fits the terminal: one line with whole cells; one line with short cells, as few of them as
/// possible; several lines, with whole cells if that takes no further line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) places: Vec<Place>,
    /// Whether the last cell begins a line.
    pub(super) breaks_before_last: bool,
}

/// The place of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) width: usize,
    pub(super) is_short: bool,
    pub(super) is_hidden: bool,
    /// Whether the column begins a line other than the first.
    pub(super) begins_line: bool,
}

impl Layout {
    /// Lays columns of such widths out. `last` is the least width of the last cell.
    pub(super) fn new(
        columns: &[Column],
        widths: &[CellWidth],
        last: usize,
        terminal_width: Option<usize>,
    ) -> Self {
        let whole = |width: &CellWidth| Place {
            width: width.whole,
            is_short: false,
            is_hidden: false,
            begins_line: false,
        };
        let places: Vec<Place> = widths.iter().map(whole).collect();
        let mut layout = Layout { places, breaks_before_last: false };
        let Some(terminal_width) = terminal_width else { return layout };
        if layout.width() + last <= terminal_width {
            return layout;
        }
        for ((place, column), width) in layout.places.iter_mut().zip(columns).zip(widths) {
            place.is_hidden = column.is_optional && width.is_empty;
        }
        // From the left: positions are first, and the widest.
        for (at, width) in widths.iter().enumerate() {
            if layout.width() + last <= terminal_width {
                return layout;
            }
            let place = &mut layout.places[at];
            if width.short < width.whole {
                (place.width, place.is_short) = (width.short, true);
            }
        }
        if layout.width() + last <= terminal_width {
            return layout;
        }
        // Where there are several lines, they may have room for whole cells.
        let mut with_whole = layout.clone();
        for (place, width) in with_whole.places.iter_mut().zip(widths) {
            if INDENT + width.whole <= terminal_width {
                (place.width, place.is_short) = (width.whole, false);
            }
        }
        layout.break_lines(last, terminal_width);
        with_whole.break_lines(last, terminal_width);
        if with_whole.lines() <= layout.lines() { with_whole } else { layout }
    }

    /// Returns the number of lines of a row.
    fn lines(&self) -> usize {
        let breaks = self.places.iter().filter(|place| place.begins_line).count();
        1 + breaks + usize::from(self.breaks_before_last)
    }

    /// Returns the width of one line with all columns, and the gap after them.
    fn width(&self) -> usize {
        self.places.iter().filter(|place| !place.is_hidden).map(|place| place.width + GAP).sum()
    }

    fn break_lines(&mut self, last: usize, terminal_width: usize) {
        let mut taken = 0;
        let mut is_first = true;
        for place in self.places.iter_mut().filter(|place| !place.is_hidden) {
            place.begins_line = !is_first && taken + place.width > terminal_width;
            if place.begins_line {
                taken = INDENT;
            }
            taken += place.width + GAP;
            is_first = false;
        }
        self.breaks_before_last = taken + last > terminal_width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::text("POSITION").end(8),
        Column::text("KEY").cut(10),
        Column::text("HASH KEY").optional(),
        Column::number("SIZE"),
    ];

    /// Shows the width of each column, with `…` for a short one and `/` before one that begins a line.
    fn layout(terminal_width: Option<usize>) -> String {
        let mut widths = COLUMNS.each_ref().map(CellWidth::of);
        let row = ["shardId-000000000000/49590338271490256608559692538361571095:3", "customer", "-", "1024"];
        for ((width, column), cell) in widths.iter_mut().zip(&COLUMNS).zip(row) {
            width.add(column, cell);
        }
        let layout = Layout::new(&COLUMNS, &widths, 21, terminal_width);
        let mut shown: Vec<String> = Vec::new();
        for place in &layout.places {
            let line = if place.begins_line { "/" } else { "" };
            let short = if place.is_short { "…" } else { "" };
            shown.push(if place.is_hidden {
                "-".to_owned()
            } else {
                format!("{line}{}{short}", place.width)
            });
        }
        shown.push(if layout.breaks_before_last { "/" } else { "" }.to_owned());
        shown.join(" ").trim_end().to_owned()
    }

    #[test]
    fn columns_give_way_until_a_row_fits() {
        assert_eq!(layout(None), "61 8 8 4");
        assert_eq!(layout(Some(110)), "61 8 8 4");
        assert_eq!(layout(Some(109)), "61 8 - 4");
        assert_eq!(layout(Some(99)), "13… 8 - 4");
        assert_eq!(layout(Some(52)), "13… 8 - 4");
        assert_eq!(layout(Some(51)), "13… 8 - 4 /");
        assert_eq!(layout(Some(24)), "13… 8 - /4 /");
    }
}
