//! `Topology`.

use peerloop::topology::Topology;

#[test]
fn random_network_gives_each_node_its_degree() {
    for seed in 0..20 {
        let mut degrees = [0; 10];
        for (from, to) in (Topology::Random { degree: 2, seed }).edges(10).unwrap() {
            degrees[from] += 1;
            degrees[to] += 1;
        }
        assert!(degrees.iter().all(|it| *it >= 2), "{seed}: {degrees:?}");
        assert_eq!(degrees.iter().sum::<usize>(), 40);
    }
}
