//! Topologies of test networks and demonstrations.

use std::error::Error;
use std::fmt;

/// The shape of a network: which nodes connect to which.
///
/// Nodes are numbered from zero; see [`Topology::edges`].
///
/// ```
/// use peerloop::topology::{Topology, TopologyError};
///
/// assert_eq!(Topology::Ring.edges(4)?, [(0, 1), (1, 2), (2, 3), (3, 0)]);
/// # Ok::<(), TopologyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Topology {
    /// Each node connects to the next one.
    Line,
    /// A line whose last node also connects to the first one.
    Ring,
    /// Every pair of nodes is connected. The node with the lower number
    /// connects.
    Mesh,
    /// Every other node connects to the first node.
    Star,
    /// Each node connects to its neighbor on the right and to its neighbor
    /// below. Nodes are numbered row by row.
    Grid {
        /// Number of nodes in a row.
        width: usize,
        /// Number of rows.
        height: usize,
    },
    /// A binary tree: node i connects to nodes 2i + 1 and 2i + 2.
    Tree,
    /// Each node connects to `degree` other nodes, which are chosen at random.
    /// A node does not choose the same node twice, but two nodes may choose
    /// each other.
    Random {
        /// The number of nodes that each node connects to.
        degree: usize,
        /// The seed of the generator (SplitMix64). The same seed gives the same
        /// network.
        seed: u64,
    },
}

/// The error of a topology that is impossible for a number of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TopologyError {
    /// There are fewer than two nodes.
    TooFewNodes,
    /// The grid's width times its height is not the number of nodes.
    GridMismatch,
    /// `degree` is not below the number of nodes.
    DegreeTooHigh,
    /// The number of edges overflows.
    TooManyEdges,
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooFewNodes => "a network has at least two nodes",
            Self::GridMismatch => {
                "the width times the height of the grid is not the number of nodes"
            }
            Self::DegreeTooHigh => "the degree is not below the number of nodes",
            Self::TooManyEdges => "the number of edges overflows",
        })
    }
}

impl Error for TopologyError {}

impl Topology {
    /// Returns the edges between `nodes` nodes, numbered from zero. The first
    /// node of an edge connects to the second.
    ///
    /// # Errors
    ///
    /// - The errors of [`Topology::edge_count`].
    pub fn edges(self, nodes: usize) -> Result<Vec<(usize, usize)>, TopologyError> {
        let mut edges = Vec::with_capacity(self.edge_count(nodes)?);
        match self {
            Self::Line => edges.extend((1..nodes).map(|node| (node - 1, node))),
            Self::Ring => edges.extend((0..nodes).map(|node| (node, (node + 1) % nodes))),
            Self::Mesh => {
                edges.extend((0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b))))
            }
            Self::Star => edges.extend((1..nodes).map(|node| (node, 0))),
            Self::Tree => edges.extend((1..nodes).map(|node| ((node - 1) / 2, node))),
            Self::Grid { width, .. } => {
                for node in 0..nodes {
                    if node % width + 1 < width {
                        edges.push((node, node + 1));
                    }
                    if node + width < nodes {
                        edges.push((node, node + width));
                    }
                }
            }
            Self::Random { degree, seed } => {
                let mut random = SplitMix64(seed);
                for node in 0..nodes {
                    let chosen = sample(&mut random, nodes - 1, degree);
                    // The node itself is skipped: numbers from its own on are
                    // moved up by one.
                    let others = chosen
                        .into_iter()
                        .map(|other| other + usize::from(other >= node));
                    edges.extend(others.map(|other| (node, other)));
                }
            }
        }
        Ok(edges)
    }

    /// Returns the number of edges between `nodes` nodes. Each edge is one
    /// connection.
    ///
    /// # Errors
    ///
    /// - [`TopologyError::TooFewNodes`] for fewer than two nodes;
    /// - [`TopologyError::GridMismatch`] when width times height is not
    ///   `nodes`;
    /// - [`TopologyError::DegreeTooHigh`] when `degree` is not below `nodes`;
    /// - [`TopologyError::TooManyEdges`] when the number overflows.
    pub fn edge_count(self, nodes: usize) -> Result<usize, TopologyError> {
        if nodes < 2 {
            return Err(TopologyError::TooFewNodes);
        }
        let count = match self {
            Self::Line | Self::Star | Self::Tree => Some(nodes - 1),
            // A ring of two nodes has two edges, because each node connects to
            // the next one.
            Self::Ring => Some(nodes),
            Self::Mesh => nodes.checked_mul(nodes - 1).map(|ends| ends / 2),
            Self::Grid { width, height } => {
                if width.checked_mul(height) != Some(nodes) {
                    return Err(TopologyError::GridMismatch);
                }
                nodes.checked_mul(2).map(|both| both - width - height)
            }
            Self::Random { degree, .. } if degree >= nodes => {
                return Err(TopologyError::DegreeTooHigh);
            }
            Self::Random { degree, .. } => nodes.checked_mul(degree),
        };
        count.ok_or(TopologyError::TooManyEdges)
    }
}

/// Returns `count` different numbers below `below`. Floyd's algorithm draws one
/// random number for each.
fn sample(random: &mut SplitMix64, below: usize, count: usize) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(count);
    for last in below - count..below {
        let candidate = (random.next() % (last as u64 + 1)) as usize;
        let taken = chosen.contains(&candidate);
        chosen.push(if taken { last } else { candidate });
    }
    chosen
}

/// The random number generator SplitMix64 (Steele, Lea and Flood, *Fast
/// splittable pseudorandom number generators*, OOPSLA 2014).
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    /// Returns a number below `bound`, or zero if `bound` is zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product (Lemire, 2019), without its correction:
        // the bias is less than one in 2^64 / bound.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SHAPES: [Topology; 5] = [
        Topology::Line,
        Topology::Ring,
        Topology::Mesh,
        Topology::Star,
        Topology::Tree,
    ];

    #[test]
    fn edges_match_their_count_and_join_two_nodes() {
        let mut shapes = SHAPES.to_vec();
        shapes.push(Topology::Grid {
            width: 5,
            height: 2,
        });
        shapes.push(Topology::Grid {
            width: 1,
            height: 10,
        });
        shapes.extend((0..20).map(|seed| Topology::Random { degree: 9, seed }));
        shapes.extend((0..20).map(|seed| Topology::Random { degree: 2, seed }));
        for shape in shapes {
            let edges = shape.edges(10).unwrap();
            assert_eq!(edges.len(), shape.edge_count(10).unwrap(), "{shape:?}");
            assert!(
                edges.iter().all(|&(a, b)| a != b && a < 10 && b < 10),
                "{shape:?}: {edges:?}"
            );
            assert_eq!(
                edges.iter().collect::<HashSet<_>>().len(),
                edges.len(),
                "{shape:?}: {edges:?}"
            );
        }
    }

    #[test]
    fn small_shapes_are_as_drawn() {
        assert_eq!(Topology::Line.edges(3).unwrap(), [(0, 1), (1, 2)]);
        assert_eq!(Topology::Mesh.edges(3).unwrap(), [(0, 1), (0, 2), (1, 2)]);
        assert_eq!(Topology::Star.edges(3).unwrap(), [(1, 0), (2, 0)]);
        assert_eq!(
            Topology::Tree.edges(5).unwrap(),
            [(0, 1), (0, 2), (1, 3), (1, 4)]
        );
        let grid = Topology::Grid {
            width: 2,
            height: 2,
        };
        assert_eq!(grid.edges(4).unwrap(), [(0, 1), (0, 2), (1, 3), (2, 3)]);
    }

    #[test]
    fn a_seed_determines_the_network() {
        let edges = |seed| Topology::Random { degree: 3, seed }.edges(50).unwrap();
        assert_eq!(edges(1), edges(1));
        assert_ne!(edges(1), edges(2));
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for shape in SHAPES {
            assert_eq!(shape.edges(0), Err(TopologyError::TooFewNodes));
            assert_eq!(shape.edges(1), Err(TopologyError::TooFewNodes));
        }
        let grid = |width, height| Topology::Grid { width, height }.edges(6);
        assert_eq!(grid(4, 2), Err(TopologyError::GridMismatch));
        assert_eq!(grid(0, 6), Err(TopologyError::GridMismatch));
        assert_eq!(grid(usize::MAX, 2), Err(TopologyError::GridMismatch));
        let random = Topology::Random { degree: 3, seed: 0 };
        assert_eq!(random.edges(3), Err(TopologyError::DegreeTooHigh));
        assert_eq!(
            Topology::Mesh.edge_count(usize::MAX),
            Err(TopologyError::TooManyEdges)
        );
    }
}
