//! The places of the nodes, and their links.

use std::collections::BTreeSet;

use peerloop::sim::Random;

/// A place in a picture.
pub(crate) type Point = (f64, f64);

/// The ellipse of the nodes, in units of the picture, and the gap between its halves.
pub(crate) const CENTER: Point = (480.0, 278.0);
pub(crate) const RADII: Point = (444.0, 196.0);
const GAP: f64 = 46.0;

/// Number of candidates of which a node takes the place farthest from the others.
const CANDIDATES: usize = 16;

/// Number of nearest nodes that each node connects to.
const NEAREST: usize = 3;

/// The square of the distance.
fn distance(a: Point, b: Point) -> f64 {
    // Powers of the standard library differ between platforms.
    let (x, y) = (a.0 - b.0, a.1 - b.1);
    x * x + y * y
}

/// Places that fill the ellipse evenly: the first half of them on the left, the
/// others on the right.
pub(crate) fn places(random: &mut Random, count: usize) -> Vec<Point> {
    let mut places: Vec<Point> = Vec::with_capacity(count);
    for index in 0..count {
        let side = if index < count / 2 { -1.0 } else { 1.0 };
        let candidates = (0..CANDIDATES).map(|_| draw(random, side));
        let free = |place: &Point| {
            let distances = places.iter().map(|other| distance(*place, *other));
            distances.fold(f64::INFINITY, f64::min)
        };
        let farthest = candidates.max_by(|a, b| free(a).total_cmp(&free(b)));
        places.extend(farthest);
    }
    places
}

/// Draws a place in one half of the ellipse.
fn draw(random: &mut Random, side: f64) -> Point {
    loop {
        let (x, y) = (random.unit(), 2.0 * random.unit() - 1.0);
        let offset = GAP / 2.0 + x * (RADII.0 - GAP / 2.0);
        if distance((offset / RADII.0, y), (0.0, 0.0)) <= 1.0 {
            return (CENTER.0 + side * offset, CENTER.1 + y * RADII.1);
        }
    }
}

/// Each node connects to the nearest nodes, and to the nearest one before it, so
/// that the network is connected.
pub(crate) fn nearest(places: &[Point]) -> Vec<(usize, usize)> {
    let mut edges = BTreeSet::new();
    for (node, place) in places.iter().enumerate() {
        let mut others: Vec<usize> = (0..places.len()).filter(|it| *it != node).collect();
        others.sort_by(|a, b| {
            let [a, b] = [*a, *b].map(|other| distance(*place, places[other]));
            a.total_cmp(&b)
        });
        let before = others.iter().find(|other| **other < node);
        for other in others.iter().take(NEAREST).chain(before) {
            edges.insert((node.min(*other), node.max(*other)));
        }
    }
    edges.into_iter().collect()
}
