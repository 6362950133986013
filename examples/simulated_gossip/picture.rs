//! A picture of the swarm: when each node knew, and from which neighbour.

use std::fmt::Write as _;
use std::time::Duration;

use crate::network::{CENTER, Point, RADII};
use crate::{HEALS, Run, STARTS};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 640.0;

/// The frame of the curve below the swarm.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 896.0;
const TOP: f64 = 528.0;
const BOTTOM: f64 = 598.0;

/// The colours from the first node that knew to the last one.
const COLOURS: [[f64; 3]; 6] = [
    [255.0, 236.0, 120.0],
    [255.0, 166.0, 60.0],
    [246.0, 92.0, 98.0],
    [206.0, 74.0, 188.0],
    [126.0, 96.0, 242.0],
    [56.0, 196.0, 240.0],
];

const STYLE: &str = "<style>\
text{font:15px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#9fb0cf}\
.t{font-size:20px;font-weight:600;fill:#e8eefb}\
.l{stroke:#33436a}\
.x{stroke:#5b6d99;stroke-dasharray:3 5}\
.c{stroke:#ff6b81;stroke-dasharray:2 7;stroke-width:2;stroke-linecap:round}\
.k{stroke-width:2.2}\
circle{stroke:#0d1526;stroke-width:1.5}\
</style>";

/// Draws the network, and the number of nodes that know below it. The same run gives
/// the same text.
pub(crate) fn draw(run: &Run, places: &[Point]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         role=\"img\" aria-label=\"A rumour in a simulated network that is cut into halves\">\n\
         {STYLE}\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"18\" fill=\"#0d1526\"/>\n"
    );
    draw_title(&mut svg, run);
    draw_links(&mut svg, run, places);
    draw_nodes(&mut svg, run, places);
    draw_curve(&mut svg, run);
    svg + "</svg>\n"
}

/// The colour of a time.
fn colour(run: &Run, at: Duration) -> String {
    let share = (at - STARTS).as_secs_f64() / (run.end() - STARTS).as_secs_f64();
    let place = share * (COLOURS.len() - 1) as f64;
    let below = (place as usize).min(COLOURS.len() - 2);
    let [from, to] = [COLOURS[below], COLOURS[below + 1]];
    let mix = |index: usize| from[index] + (to[index] - from[index]) * (place - below as f64);
    let [r, g, b] = [0, 1, 2].map(|index| mix(index).round() as u8);
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn draw_title(svg: &mut String, run: &Run) {
    let (nodes, seed) = (run.knew.len(), run.seed);
    let _ = writeln!(
        svg,
        "<text class=\"t\" x=\"28\" y=\"40\">A rumour in a network of {nodes} nodes, \
         simulated with the seed {seed}</text>\n\
         <text x=\"28\" y=\"65\">It starts in the circled node. Coloured links are the way it took. \
         Each colour is a time of the clock below.</text>"
    );
}

/// The cut, the links, and above them the way of the rumour to each node, in its
/// colour.
fn draw_links(svg: &mut String, run: &Run, places: &[Point]) {
    let (x, above, below) = (CENTER.0, CENTER.1 - RADII.1, CENTER.1 + RADII.1);
    let _ = writeln!(svg, "<path class=\"c\" d=\"M{x} {above}V{below}\"/>");
    let half = places.len() / 2;
    for (from, to) in &run.edges {
        let is_told = run.told_by[*from] == Some(*to) || run.told_by[*to] == Some(*from);
        if !is_told {
            let is_cut = (*from < half) != (*to < half);
            let class = if is_cut { "x" } else { "l" };
            draw_line(svg, class, places[*from], places[*to], "");
        }
    }
    for (node, teller) in run.told_by.iter().enumerate() {
        if let Some(teller) = teller {
            let stroke = format!(" stroke=\"{}\"", colour(run, run.knew[node]));
            draw_line(svg, "k", places[*teller], places[node], &stroke);
        }
    }
}

fn draw_line(svg: &mut String, class: &str, (x1, y1): Point, (x2, y2): Point, stroke: &str) {
    *svg += &format!("<path class=\"{class}\"{stroke} d=\"M{x1:.0} {y1:.0}L{x2:.0} {y2:.0}\"/>\n");
}

fn draw_nodes(svg: &mut String, run: &Run, places: &[Point]) {
    for (node, (x, y)) in places.iter().enumerate() {
        let fill = colour(run, run.knew[node]);
        *svg += &format!("<circle cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"6\" fill=\"{fill}\"/>\n");
    }
    let (x, y) = places[0];
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"10\" style=\"fill:none;stroke:#fff;stroke-width:2\"/>"
    );
}

/// The number of nodes that know over virtual time, which is the legend as well.
fn draw_curve(svg: &mut String, run: &Run) {
    let (end, nodes) = (run.end(), run.knew.len());
    let x = |at: Duration| LEFT + (RIGHT - LEFT) * at.as_secs_f64() / end.as_secs_f64();
    let y = |known: usize| BOTTOM - (BOTTOM - TOP) * known as f64 / nodes as f64;
    let mut curve = format!("M{:.1} {BOTTOM}", x(STARTS));
    for at in run.times() {
        let known = run.knew.iter().filter(|knew| **knew <= at).count();
        let _ = write!(curve, "H{:.1}V{:.1}", x(at), y(known));
    }
    let _ = write!(curve, "V{BOTTOM}Z");

    let stops = (0..=20).map(|step| {
        let at = STARTS + (end - STARTS) * step / 20;
        let (percent, colour) = (step * 5, colour(run, at));
        format!("<stop offset=\"{percent}%\" stop-color=\"{colour}\"/>")
    });
    let (from, heals) = (x(STARTS), x(HEALS));
    let (middle, label, line) = ((from + heals) / 2.0, TOP - 20.0, TOP - 10.0);
    let _ = writeln!(
        svg,
        "<linearGradient id=\"g\" gradientUnits=\"userSpaceOnUse\" x1=\"{from:.1}\" x2=\"{RIGHT}\">\
         {}</linearGradient>\n\
         <path d=\"{curve}\" fill=\"url(#g)\"/>\n\
         <path class=\"l\" d=\"M{LEFT} {BOTTOM}H{RIGHT}\"/>\n\
         <path class=\"c\" d=\"M{from:.1} {line}H{heals:.1}\"/>\n\
         <text x=\"{middle:.1}\" y=\"{label}\" text-anchor=\"middle\">the network is cut</text>\n\
         <text x=\"{LEFT}\" y=\"{TOP}\">nodes that know</text>\n\
         <text x=\"{RIGHT}\" y=\"{line}\" text-anchor=\"end\">all {nodes} know</text>",
        stops.collect::<String>(),
    );
    for second in 0..=end.as_secs() {
        let (x, y) = (x(Duration::from_secs(second)), BOTTOM + 22.0);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{second} s</text>"
        );
    }
}
