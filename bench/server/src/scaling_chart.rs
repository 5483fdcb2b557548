//! The cost of a record as events grow, and of an invocation as more run at once, as line charts in SVG.

use std::fmt::{Error, Write};

use crate::{chart::STYLE, in_process::InProcess, measure::Figures};

const WIDTH: usize = 760;
const MARGIN: usize = 16;
const HEADING: usize = 24;
/// Size of the area of a chart, and its left end.
const PLOT: (f64, f64) = (640.0, 110.0);
const PLOT_LEFT: f64 = 70.0;
/// Height of a chart with its heading and the numbers below it.
const CHART: usize = HEADING + PLOT.1 as usize + 50;

/// The points of a chart: a number, and the cost of each.
struct Chart {
    title: String,
    unit: &'static str,
    points: Vec<(f64, f64)>,
}

/// Draws a chart for each kind of growth that was measured.
pub(crate) fn svg(in_process: Option<&InProcess>, figures: &[Figures]) -> Result<String, Error> {
    let mut charts = Vec::new();
    if let Some(in_process) = in_process {
        for (curve, records) in [("user_records", "user record"), ("kinesis_records", "Kinesis record")] {
            charts.push(Chart {
                title: format!("Cost of a {records}, by the number of {records}s in the event"),
                unit: "ns",
                points: in_process.record_ns(curve),
            });
        }
    }
    for figures in figures.iter().filter(|figures| !figures.concurrency.is_empty()) {
        let point = |one: &crate::measure::ConcurrencyFigures| (one.invocations as f64, one.cpu_ms.median);
        charts.push(Chart {
            title: "CPU time of an invocation with E1, by the number of invocations at once".to_owned(),
            unit: "ms",
            points: figures.concurrency.iter().map(point).collect(),
        });
    }
    let height = 2 * MARGIN + charts.len() * CHART;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>Cost of a record as events grow</title>\n{STYLE}\
         <rect class=\"background\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    for (position, chart) in charts.iter().enumerate() {
        chart.draw(&mut out, (MARGIN + position * CHART) as f64)?;
    }
    out.push_str("</svg>\n");
    Ok(out)
}

impl Chart {
    /// Numbers are on a logarithmic scale, costs on a linear one from zero.
    fn draw(&self, out: &mut String, top: f64) -> Result<(), Error> {
        let Chart { title, unit, points } = self;
        let heading = top + 14.0;
        writeln!(out, "<text class=\"heading\" x=\"{MARGIN}\" y=\"{heading}\">{title}</text>")?;
        let first = points.iter().map(|(number, _)| number.log2()).fold(f64::INFINITY, f64::min);
        let last = points.iter().map(|(number, _)| number.log2()).fold(0.0, f64::max);
        let highest = points.iter().map(|(_, cost)| *cost).fold(0.0, f64::max);
        let bottom = top + (HEADING + 16) as f64 + PLOT.1;
        let place = |(number, cost): &(f64, f64)| {
            let x = PLOT_LEFT + (number.log2() - first) / (last - first).max(f64::EPSILON) * PLOT.0;
            (x, bottom - cost / highest.max(f64::EPSILON) * PLOT.1)
        };
        let end = PLOT_LEFT + PLOT.0;
        writeln!(out, "<path class=\"axis\" d=\"M{PLOT_LEFT} {bottom}H{end}\"/>")?;
        let line: Vec<_> = points.iter().map(place).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        writeln!(out, "<path class=\"line\" d=\"M{}\"/>", line.join("L"))?;
        for point in points {
            let (x, y) = place(point);
            writeln!(out, "<circle class=\"ours\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>")?;
            let cost = if point.1 < 10.0 { format!("{:.1}", point.1) } else { format!("{:.0}", point.1) };
            writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{cost} {unit}</text>",
                y - 8.0
            )?;
            let number = grouped(point.0 as u64);
            let below = bottom + 18.0;
            writeln!(out, "<text x=\"{x:.1}\" y=\"{below:.1}\" text-anchor=\"middle\">{number}</text>")?;
        }
        Ok(())
    }
}

/// Returns a number with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_points_in_the_area() {
        let mut out = String::new();
        let points = vec![(10.0, 30.0), (1_000_000.0, 15.0)];
        let chart = Chart { title: "cost".to_owned(), unit: "ns", points };
        chart.draw(&mut out, 0.0).expect("text can be written");
        assert!(out.contains("d=\"M70.0 40.0L710.0 95.0\""), "{out}");
        assert!(out.contains(">1,000,000</text>") && out.contains(">15 ns</text>"), "{out}");
    }
}
