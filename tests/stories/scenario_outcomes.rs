//! The scenarios of `farlink sim`, each with its ladder.

use farlink::sim::{World, for_each_seed};

use crate::scenarios;

#[test]
fn every_scenario_comes_out_as_it_should() {
    for scenario in scenarios::all() {
        let mut world = World::new(1);

        let outcome = (scenario.play)(&mut world);

        let outcome = outcome.unwrap_or_else(|fault| panic!("{}: {fault}", scenario.name));
        let shown = format!("{}\n{outcome}\n", world.ladder());
        insta::assert_snapshot!(scenario.name, shown);
    }
}

#[test]
fn every_scenario_comes_out_as_it_should_with_any_seed() {
    for_each_seed(2..20, |seed| {
        for scenario in scenarios::all() {
            let outcome = (scenario.play)(&mut World::new(seed));
            assert!(outcome.is_ok(), "{}: {outcome:?}", scenario.name);
        }
    });
}
