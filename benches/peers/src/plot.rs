//! The chart: times as a multiple of peerloop's, on a logarithmic scale.

use std::fmt::Write;

use crate::measure::Measured;
use crate::on::Contestant;
use crate::rows::Unit;

/// Colours of the contestants, told apart by people with any colour vision.
const COLOURS: [&str; 5] = ["#0072B2", "#E69F00", "#56B4E9", "#009E73", "#999999"];

const WIDTH: f64 = 900.0;
const LEFT: f64 = 270.0;
const TOP: f64 = 84.0;
const BAR: f64 = 9.0;
const GROUP: f64 = 4.0 * BAR + 12.0;

/// Ends of the scale.
const SHORTEST: f64 = 0.3;
const LONGEST: f64 = 300.0;

/// Returns the chart as SVG. `below` is written below the title.
pub fn svg(measured: &[Measured], below: &str) -> String {
    let rows: Vec<&Measured> = measured
        .iter()
        .filter(|row| row.unit == Unit::Time && row.is_in_readme)
        .collect();
    let bottom = TOP + GROUP * rows.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        bottom + 40.0
    );
    text(
        &mut svg,
        16.0,
        28.0,
        "Time as a multiple of peerloop's; less is better",
    );
    text(&mut svg, 16.0, 48.0, below);
    for (number, contestant) in Contestant::ALL.into_iter().enumerate() {
        let x = 16.0 + 140.0 * number as f64;
        bar(&mut svg, (x, x + 12.0), 58.0, COLOURS[number]);
        text(
            &mut svg,
            x + 18.0,
            68.0,
            &contestant.name().replace('`', ""),
        );
    }
    for value in [0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0] {
        let colour = if value == 1.0 { COLOURS[0] } else { "#dddddd" };
        bar(&mut svg, (place(value), place(value) + 1.0), bottom, colour);
        text(
            &mut svg,
            place(value) - 8.0,
            bottom + 24.0,
            &value.to_string(),
        );
    }
    for (number, row) in rows.into_iter().enumerate() {
        group(&mut svg, row, TOP + GROUP * number as f64);
    }
    // peerloop has no bars: its time is this line.
    let x = place(1.0);
    let _ = writeln!(
        svg,
        "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"{}\" stroke-width=\"2\"/>",
        COLOURS[0]
    );
    svg + "</svg>\n"
}

/// Draws the name of a row and a bar for each contestant except peerloop.
fn group(svg: &mut String, row: &Measured, top: f64) {
    text(svg, 16.0, top + 2.0 * BAR + 5.0, row.name);
    for (number, contestant) in Contestant::ALL.into_iter().enumerate().skip(1) {
        if let Some(ratio) = row.ratio(contestant, |cost| cost.figure) {
            let (from, to) = (place(ratio.min(1.0)), place(ratio.max(1.0)));
            bar(
                svg,
                (from, to),
                top + BAR * (number - 1) as f64,
                COLOURS[number],
            );
        }
    }
}

/// Returns the place of a value on the scale.
fn place(value: f64) -> f64 {
    let share = (value.clamp(SHORTEST, LONGEST) / SHORTEST).ln() / (LONGEST / SHORTEST).ln();
    LEFT + (WIDTH - LEFT - 30.0) * share
}

fn bar(svg: &mut String, (from, to): (f64, f64), y: f64, colour: &str) {
    let width = to - from;
    // Writing into a string cannot fail.
    let _ = writeln!(
        svg,
        "<rect x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\">{text}</text>");
}
