//! COTP over random lines: messages are received as they were sent, in order.

use core::time::Duration;

use farlink::cotp::{Command, Config, ConnectionTimers, EndReason, Policy};
use farlink::sim::{Chunks, StreamLine, for_each_seed};
use farlink::{Rng, Seed};

use crate::cotp_scene::{SECOND, Scene, client, message, responder};

/// Seeds below are recorded.
const RECORDED: u64 = 5;

/// One direction of a line, drawn.
fn line(rng: &mut Rng) -> StreamLine {
    let span = |rng: &mut Rng, millis| Duration::from_millis(rng.below(millis));
    StreamLine {
        delay: span(rng, 500),
        jitter: span(rng, 100),
        variable_delay: None,
        rate: (rng.below(2) == 0).then(|| 10_000 + rng.below(1_000_000)),
        chunks: match rng.below(4) {
            0 => Chunks::Whole,
            1 => Chunks::Fixed(1),
            2 => Chunks::Fixed(1 + usize::try_from(rng.below(100)).unwrap()),
            _ => Chunks::Random(1 + usize::try_from(rng.below(300)).unwrap()),
        },
        window: (rng.below(2) == 0).then(|| 500 + usize::try_from(rng.below(5000)).unwrap()),
    }
}

#[test]
fn whatever_the_line_messages_arrive_whole_and_in_order() {
    for_each_seed(0..100, |seed| {
        let mut rng = Seed::from(seed).child("chaos").rng();
        let config = |config: Config| Config {
            timers: ConnectionTimers {
                answer_timeout: None,
                request_timeout: None,
                packet_timeout: None,
                ..config.timers
            },
            ..config
        };
        let server = config(responder(Policy::AcceptAny));
        let mut scene = Scene::new(seed, config(client()), server, line(&mut rng));
        if seed >= RECORDED {
            scene.forget();
        }
        scene.world.stream_from(scene.server, line(&mut rng));
        scene.run(60 * SECOND);

        let hosts = [scene.client, scene.server];
        let mut sent = [Vec::new(), Vec::new()];
        for number in 0..20_u8 {
            let side = usize::try_from(rng.below(2)).unwrap();
            let len = 1 + usize::try_from(rng.below(3000)).unwrap();
            let message = message(len, number);
            scene.send(hosts[side], &message);
            sent[side].push(message);
            scene.run(Duration::from_millis(rng.below(300)));
        }
        scene.run(600 * SECOND);

        assert!(
            scene.is_open(hosts[0]) && scene.is_open(hosts[1]),
            "seed {seed}"
        );
        assert_eq!(scene.received(hosts[1]), sent[0], "seed {seed}");
        assert_eq!(scene.received(hosts[0]), sent[1], "seed {seed}");
        scene.replays();
    });
}

#[test]
fn a_reset_at_any_time_leaves_a_prefix_of_what_was_sent() {
    for_each_seed(0..100, |seed| {
        let mut rng = Seed::from(seed).child("cut").rng();
        let mut scene = Scene::plain(seed, line(&mut rng));
        if seed >= RECORDED {
            scene.forget();
        }
        let (client, server) = (scene.client, scene.server);
        let cut = Duration::from_millis(rng.below(20_000));
        let ends = rng.below(3);
        scene.world.at(cut, move |world| match ends {
            0 => world.reset(client, ()),
            1 => world.reset(server, ()),
            _ => world.half_close(server, ()),
        });
        let mut sent = Vec::new();
        for number in 0..30_u8 {
            scene.run(Duration::from_millis(rng.below(1000)));
            let message = message(1 + usize::try_from(rng.below(20_000)).unwrap(), number);
            let command = Command::Send(message.clone());
            if scene.world.command(client, command).is_ok() {
                sent.push(message);
            }
        }
        assert!(scene.world.run_until_idle(3600 * SECOND), "seed {seed}");

        let received = scene.received(server);
        assert!(sent.starts_with(&received), "seed {seed}");
        for host in [client, server] {
            assert!(scene.world.is_done(host), "seed {seed}");
            let reason = scene.reason(host);
            assert!(
                reason.is_some_and(|reason| reason != EndReason::Overrun),
                "seed {seed}"
            );
        }
        scene.replays();
    });
}
