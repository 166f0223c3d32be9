//! Plots, drawn as SVG.

use std::fmt::Write;

const WIDTH: f64 = 900.0;
const COLOURS: [&str; 8] = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5"];

/// Text where markup has a meaning.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number as short as it can be told.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e4 => format!("{:.1} k", value / 1e3),
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// A bar for each of the named values.
pub(super) fn bars(title: &str, values: &[(String, f64)]) -> String {
    const LINE: f64 = 20.0;
    const NAMES: f64 = 190.0;
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max).max(1e-9);
    let height = LINE * values.len() as f64 + 30.0;
    let mut svg = open(title, height);
    for (number, (name, value)) in values.iter().enumerate() {
        let (y, length) = (28.0 + LINE * number as f64, (WIDTH - NAMES - 90.0) * value.max(0.0) / most);
        let _ = write!(
            svg,
            "<text x='{:.0}' y='{:.0}' text-anchor='end'>{}</text><rect x='{NAMES:.0}' y='{y:.0}' width='{length:.1}' height='15' fill='{}'/>\
             <text x='{:.0}' y='{:.0}'>{}</text>",
            NAMES - 6.0,
            y + 12.0,
            escape(name),
            COLOURS[0],
            NAMES + length + 6.0,
            y + 12.0,
            short(*value)
        );
    }
    svg + "</svg>"
}

/// A named line through points.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Lines over a common axis that begins at 0. `ticks` names places of the x axis.
pub(super) fn lines(title: &str, y_name: &str, lines: &[Line], ticks: &[(f64, String)]) -> String {
    const HEIGHT: f64 = 260.0;
    let (left, right, top, bottom) = (80.0, WIDTH - 190.0, 34.0, HEIGHT - 30.0);
    let all = || lines.iter().flat_map(|line| &line.points);
    let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(0.0, f64::max).max(1e-9);
    let (x_most, y_most) = (most(|point| point.0), most(|point| point.1));
    let x = |value: f64| left + (right - left) * value / x_most;
    let y = |value: f64| bottom - (bottom - top) * value / y_most;
    let mut svg = open(title, HEIGHT);
    for part in 0..=4 {
        let value = y_most * f64::from(part) / 4.0;
        let at = y(value);
        let _ = write!(
            svg,
            "<path d='M{left:.0} {at:.1}H{right:.0}' stroke='#ddd'/><text x='{:.0}' y='{:.1}' text-anchor='end'>{}</text>",
            left - 6.0,
            at + 4.0,
            short(value)
        );
    }
    let _ = write!(svg, "<text x='{left:.0}' y='{:.0}' fill='#666'>{}</text>", top - 6.0, escape(y_name));
    for (value, name) in ticks {
        let _ = write!(svg, "<text x='{:.1}' y='{:.0}' text-anchor='middle'>{}</text>", x(*value), bottom + 18.0, escape(name));
    }
    for (number, line) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let points = line.points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)));
        let points = points.collect::<Vec<_>>().join(" ");
        let at = top + 16.0 * number as f64;
        let _ = write!(
            svg,
            "<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.5'/>\
             <rect x='{:.0}' y='{at:.0}' width='12' height='4' fill='{colour}'/><text x='{:.0}' y='{:.0}'>{}</text>",
            right + 14.0,
            right + 32.0,
            at + 6.0,
            escape(&line.name)
        );
    }
    svg + "</svg>"
}

fn open(title: &str, height: f64) -> String {
    format!(
        "<svg viewBox='0 0 {WIDTH:.0} {height:.0}' width='{WIDTH:.0}' height='{height:.0}' role='img'>\
         <text x='4' y='14' font-weight='bold'>{}</text>",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let svg = bars("a < b", &[("one".to_owned(), 100.0), ("half".to_owned(), 50.0), ("none".to_owned(), 0.0)]);
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>"));
        for width in ["width='620.0'", "width='310.0'", "width='0.0'"] {
            assert!(svg.contains(width), "{width}: {svg}");
        }
    }

    #[test]
    fn lines_go_from_the_origin_to_the_most() {
        let line = |name: &str, points: &[(f64, f64)]| Line { name: name.to_owned(), points: points.to_vec() };
        let svg = lines("lag", "ms", &[line("a", &[(0.0, 0.0), (2.0, 8.0)]), line("b", &[(1.0, 4.0)])], &[(2.0, "2 s".to_owned())]);
        assert!(svg.contains("points='80.0,230.0 710.0,34.0'") && svg.contains("points='395.0,132.0'"), "{svg}");
        assert!(svg.contains(">2 s</text>") && svg.contains(">8.0</text>"), "{svg}");
        assert!(!lines("lag", "ms", &[], &[]).contains("NaN"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.25, 2.5, 250.0, 25_000.0, 2_500_000.0].map(short), ["0", "0.250", "2.5", "250", "25.0 k", "2.50 M"]);
    }
}
