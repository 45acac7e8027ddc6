use std::fmt::Write;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 340.0;
/// Around the frame: left, right, top, bottom.
const MARGINS: [f64; 4] = [64.0, 96.0, 34.0, 44.0];
const COLOURS: [&str; 2] = ["#c2410c", "#1d4ed8"];

/// A named line.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot of lines as SVG, both axes logarithmic.
///
/// The ticks of x are the points of the first line, those of y powers of two.
pub(crate) fn log_log(title: &str, x_label: &str, series: &[Series]) -> String {
    let all = || series.iter().flat_map(|series| &series.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = all().map(of);
        let ends = |(low, high): (f64, f64), x: f64| (low.min(x), high.max(x));
        values.fold((f64::INFINITY, 0.0), ends)
    };
    let (left, right) = range(|point| point.0);
    let (low, high) = range(|point| point.1);
    let (bottom, top) = (
        low.log2().floor(),
        high.log2().ceil().max(low.log2().floor() + 1.0),
    );
    let [margin_left, margin_right, margin_top, margin_bottom] = MARGINS;
    let (frame_right, frame_bottom) = (WIDTH - margin_right, HEIGHT - margin_bottom);
    let x = |value: f64| {
        let share = (value / left).log2() / (right / left).log2();
        margin_left + share * (frame_right - margin_left)
    };
    let y = |value: f64| {
        let share = (value.log2() - bottom) / (top - bottom);
        frame_bottom - share * (frame_bottom - margin_top)
    };

    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11" fill="#333">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
<text x="{margin_left}" y="20" font-size="13">{title}</text>
<text x="{frame_right}" y="{}" text-anchor="end">{x_label}</text>
"##,
        HEIGHT - 8.0,
    );
    let mut line = |x: [f64; 2], y: [f64; 2], label: (f64, f64, &str, String)| {
        let (at, below, anchor, text) = label;
        let _ = writeln!(
            svg,
            r##"<path d="M{:.1} {:.1}L{:.1} {:.1}" stroke="#ddd"/><text x="{at:.1}" y="{below:.1}" text-anchor="{anchor}">{text}</text>"##,
            x[0], y[0], x[1], y[1],
        );
    };
    let ticks = series.first().map_or(&[][..], |series| &series.points);
    for &(value, _) in ticks {
        let label = (x(value), frame_bottom + 15.0, "middle", format!("{value}"));
        line([x(value); 2], [margin_top, frame_bottom], label);
    }
    for power in bottom as i32..=top as i32 {
        let value = 2f64.powi(power);
        let label = (
            margin_left - 6.0,
            y(value) + 4.0,
            "end",
            format!("{}", round(value)),
        );
        line([margin_left, frame_right], [y(value); 2], label);
    }
    for (series, colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let place = |&(a, b): &(f64, f64)| format!("{:.1},{:.1}", x(a), y(b));
        let places: Vec<String> = series.points.iter().map(place).collect();
        let _ = writeln!(
            svg,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            places.join(" "),
        );
        for &(a, b) in &series.points {
            let _ = writeln!(
                svg,
                r#"<circle cx="{:.1}" cy="{:.1}" r="3" fill="{colour}"/>"#,
                x(a),
                y(b)
            );
        }
        if let Some(&(a, b)) = series.points.last() {
            let _ = writeln!(
                svg,
                r#"<text x="{:.1}" y="{:.1}" fill="{colour}">{}</text>"#,
                x(a) + 8.0,
                y(b) + 4.0,
                series.name,
            );
        }
    }
    svg + "</svg>\n"
}

/// To three digits.
fn round(value: f64) -> f64 {
    let digits = 10f64.powi(2 - value.log10().floor() as i32);
    (value * digits).round() / digits
}
