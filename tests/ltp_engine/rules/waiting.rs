//! What waits for the application outside of the engine counts like what waits inside.

use super::*;

const LIMIT: usize = 100_000;

#[test]
fn what_waits_outside_counts_against_the_limit() {
    let mut line = limited();
    let now = Instant::ZERO;
    for client in [5, 6] {
        line.far().open(now, client, Service::Whole).unwrap();
        line.far().set_waiting(now, client, 48_000).unwrap();
    }

    line.send(1, &pattern(20_000), Red::All);
    line.run();

    assert!(received(&line.events(2)).is_none());
    assert!(line.far().stats().no_room > 0);

    let now = line.now;
    line.far().set_waiting(now, 6, 0).unwrap();
    line.send(2, &pattern(20_000), Red::All);
    line.run();

    assert!(received(&line.events(2)).is_some());
}

#[test]
fn a_service_for_which_more_waits_than_is_free_leaves_the_rest_to_the_others() {
    let mut line = limited();
    let now = Instant::ZERO;
    line.far().open(now, 5, Service::Whole).unwrap();
    line.far().set_waiting(now, 5, 55_000).unwrap();

    for (tag, client) in [(1, 5), (2, CLIENT)] {
        let mut block = block(tag, &pattern(20_000), Red::All);
        block.client = client;
        line.near().send_block(now, block).unwrap();
    }
    line.run();

    assert!(received(&line.events(2)).is_some());
    assert!(is_complete(&line.events(1), 2));
}

#[test]
fn green_data_are_refused_like_red_ones() {
    let mut line = limited();
    line.far()
        .set_waiting(Instant::ZERO, CLIENT, 55_000)
        .unwrap();

    line.send(1, &pattern(1000), Red::Octets(0));
    line.run();

    assert_eq!(line.events(2), []);
    assert_eq!(line.far().stats().green_octets, 0);
}

#[test]
fn what_waits_for_a_service_that_closes_is_forgotten() {
    let mut line = limited();
    let now = Instant::ZERO;
    let far = line.far();
    far.set_waiting(now, CLIENT, u64::MAX).unwrap();
    far.close(now, CLIENT).unwrap();

    let refused = far.set_waiting(now, CLIENT, 1);
    assert_eq!(refused, Err(Error::NotOpen(CLIENT)));
    far.open(now, CLIENT, Service::Whole).unwrap();
    line.send(1, &pattern(20_000), Red::All);
    line.run();

    assert!(received(&line.events(2)).is_some());
}

#[test]
fn a_service_that_closes_behind_its_block_does_not_cancel_it() {
    let mut line = Line::new(1, OWLT);
    line.send(1, &pattern(5000), Red::All);
    line.run_until(Instant::ZERO + OWLT);
    assert!(received(&line.events(2)).is_some());

    let now = line.now;
    line.far().close(now, CLIENT).unwrap();
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(line.events(2), []);
    assert_eq!(line.left(), (0, 0, 0));
}

fn limited() -> Line {
    Line::with(
        1,
        Duration::ZERO,
        |config| config.import_octets = LIMIT,
        |_| {},
    )
}
