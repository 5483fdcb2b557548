//! The CPU times as a bar chart in SVG.

use std::fmt::{Error, Write};

use bench_events::Event;

use crate::measure::Figures;

const WIDTH: usize = 760;
const MARGIN: usize = 16;
/// Left end of the bars.
const BARS: usize = 230;
/// Length of the longest bar of an event: to its right there is room for a figure.
const LONGEST_BAR: usize = WIDTH - BARS - 130;
const ROW: usize = 20;
const HEADING: usize = 30;

/// Colours of text, bars and background that follow the reader's choice of light or dark.
pub(crate) const STYLE: &str = "<style>\n\
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }\n\
    .heading { font-weight: 600; }\n\
    .background { fill: #ffffff; }\n\
    .bar { fill: #8c959f; }\n\
    .ours { fill: #0969da; }\n\
    .axis { stroke: #8c959f; fill: none; }\n\
    .line { stroke: #0969da; stroke-width: 2; fill: none; }\n\
    @media (prefers-color-scheme: dark) {\n\
      text { fill: #e6edf3; }\n\
      .background { fill: #0d1117; }\n\
      .bar { fill: #6e7681; }\n\
      .ours { fill: #58a6ff; }\n\
      .line { stroke: #58a6ff; }\n\
    }\n\
    </style>\n";

/// Events that are drawn: the usual ones, which the goals are set for.
const EVENTS: usize = 3;

/// Draws one group of bars for each of the first events. Each group has a scale of its own. Functions whose processor takes
/// time of its own are left out.
pub(crate) fn svg(events: &[Event], figures: &[Figures]) -> Result<String, Error> {
    let figures: Vec<_> = figures.iter().filter(|figures| !figures.name.ends_with("-json")).collect();
    let events = &events[..events.len().min(EVENTS)];
    let height = MARGIN + HEADING + events.len() * (HEADING + figures.len() * ROW) + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>CPU time of an invocation</title>\n{STYLE}\
         <rect class=\"background\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    let mut y = MARGIN + 14;
    let title = "CPU time of an invocation in milliseconds, less is better (in brackets: ÷ kinesis-handler)";
    writeln!(out, "<text x=\"{MARGIN}\" y=\"{y}\">{title}</text>")?;
    for event in events {
        y += HEADING;
        let heading = format!("{}: {}", event.name, event.description);
        writeln!(out, "<text class=\"heading\" x=\"{MARGIN}\" y=\"{y}\">{heading}</text>")?;
        let cpu_ms = |contestant: &Figures| contestant.on(event.name).map(|figures| figures.cpu_ms.median);
        let longest = figures.iter().copied().filter_map(cpu_ms).fold(0.0, f64::max);
        let ours = figures.iter().copied().find(|figures| figures.name == "ours").and_then(cpu_ms);
        for &contestant in &figures {
            let Some(cpu_ms) = cpu_ms(contestant) else { continue };
            y += ROW;
            let class = if contestant.name.starts_with("ours") { "ours" } else { "bar" };
            let length = (cpu_ms / longest * LONGEST_BAR as f64).max(1.0);
            let (top, end) = (y - 12, BARS as f64 + length + 8.0);
            let ratio = ours.map(|ours| format!(" ({:.1} ×)", cpu_ms / ours)).unwrap_or_default();
            let title = contestant.title;
            writeln!(out, "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{title}</text>", BARS - 8)?;
            writeln!(
                out,
                "<rect class=\"{class}\" x=\"{BARS}\" y=\"{top}\" width=\"{length:.1}\" height=\"15\" rx=\"2\"/>"
            )?;
            writeln!(out, "<text x=\"{end:.1}\" y=\"{y}\">{cpu_ms:.1}{ratio}</text>")?;
        }
    }
    out.push_str("</svg>\n");
    Ok(out)
}
