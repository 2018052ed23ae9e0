//! Many seeds: random commands, contacts, losses and times for two engines.

use core::cell::Cell;
use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Mutex;

use farlink::kit::RangeSet;
use farlink::ltp::{
    AdaptiveRedundancy, Auth, Block, Config, Cue, Engine, EngineLimits, Error, Event, Flow, Key,
    Numbers, Peer, PeerLimits, PeerTimers, Red, Redundancy, RtoBounds, RtoPolicy, Service,
    SessionId, Signer,
};
use farlink::{Cause, Hop, Link, Machine as _, Rng, Seed, Tag};

use crate::line::{CLIENT, Line, SegmentOutcome, block, hop, pattern};
use crate::seeds::for_each_seed;

/// Client services of blocks. The last one is never open.
const CLIENTS: [u64; 3] = [CLIENT, CLIENT + 1, CLIENT + 2];

/// What the line does to segments.
struct Weather {
    rng: Rng,
    loss: u64,
    twice: u64,
    late: u64,
    span: u64,
    /// No segment passes while the contact is over.
    is_dark: Rc<Cell<bool>>,
}

impl Weather {
    fn new(seed: u64, is_dark: Rc<Cell<bool>>) -> Self {
        let mut rng = Seed::from(seed).child("weather").rng();
        Self {
            loss: pick(&mut rng, [0, 10, 100, 300]),
            twice: pick(&mut rng, [0, 50, 300]),
            late: pick(&mut rng, [0, 50, 300]),
            span: 1 + rng.below(3_000_000_000),
            rng,
            is_dark,
        }
    }

    fn outcome(&mut self) -> SegmentOutcome {
        let mut falls = |per_mille| self.rng.below(1000) < per_mille;
        if self.is_dark.get() || falls(self.loss) {
            SegmentOutcome::Drop
        } else if falls(self.twice) {
            SegmentOutcome::Twice
        } else if falls(self.late) {
            SegmentOutcome::Late(Duration::from_nanos(self.rng.below(self.span)))
        } else {
            SegmentOutcome::Pass
        }
    }
}

fn pick<T, const N: usize>(rng: &mut Rng, choices: [T; N]) -> T {
    let at = rng.below(N as u64) as usize;
    choices.into_iter().nth(at).unwrap()
}

/// A peer with random options.
fn peer_by_chance(rng: &mut Rng, delay: Duration, auth: &Auth) -> Peer<Hop> {
    let millis = |rng: &mut Rng, choices| Duration::from_millis(pick(rng, choices));
    let retries = pick(rng, [2, 5, 30]);
    Peer {
        flow: any_flow(rng),
        segment: 96 + auth_overhead(auth) + rng.below(300) as usize,
        limits: PeerLimits {
            checkpoint_retries: retries,
            report_retries: retries,
            cancel_retries: pick(rng, [0, 2, 5]),
            problems: pick(rng, [2, 1 << 16, 1 << 16]),
            cycles: pick(rng, [2, 64, 64]),
            exports: pick(rng, [2, 1 << 14, 1 << 14]),
            imports: pick(rng, [2, 1 << 14, 1 << 14]),
            session_octets: pick(rng, [1500, 1 << 27, 1 << 27, 1 << 27]),
            import_octets: pick(rng, [6000, 1 << 29, 1 << 29]),
        },
        checkpoint_every: NonZeroU32::new(pick(rng, [0, 0, 1, 2, 3])),
        timers: PeerTimers {
            owlt_out: delay,
            owlt_in: delay,
            report_delay: millis(rng, [0, 0, 20, 3000]),
            repair_delay: millis(rng, [0, 0, 20, 3000]),
            rto: pick(
                rng,
                [RtoPolicy::Fixed, RtoPolicy::Learned(RtoBounds::default())],
            ),
            ..PeerTimers::default()
        },
        redundancy: any_redundancy(rng),
        auth: auth.clone(),
        ..Peer::at(hop(1))
    }
}

fn any_flow(rng: &mut Rng) -> Flow {
    let burst = pick(rng, [0, 1400, 1 << 16]);
    let rate = NonZeroU64::new(pick(rng, [0, 0, 0, 2000, 100_000]));
    let window = NonZeroU64::new(pick(rng, [0, 0, 1, 700, 3000]));
    match (rate, window) {
        (octets_per_second, Some(octets)) => Flow::Window {
            octets,
            octets_per_second,
        },
        (Some(rate), None) => Flow::rate(rate.get()).with_burst(burst),
        (None, None) => pick(rng, [Flow::Auto, Flow::Unlimited]),
    }
}

fn any_redundancy(rng: &mut Rng) -> Redundancy {
    let auto = AdaptiveRedundancy {
        initial_loss: pick(rng, [0, 10_000, 300_000]),
        spacing: Duration::from_millis(pick(rng, [0, 0, 500])),
        duplicate_repairs: pick(rng, [0, 1, 3]),
        ..AdaptiveRedundancy::default()
    };
    let auto = Redundancy::Adaptive(auto);
    let fixed = Redundancy::Fixed;
    pick(rng, [fixed(0), fixed(0), fixed(1), fixed(2), auto, auto])
}

/// Segments of less than this many octets more would be refused.
fn auth_overhead(auth: &Auth) -> usize {
    match auth.send.first() {
        None => 0,
        Some(Signer::Null | Signer::HmacSha1(_)) => 20,
        // A signature of 1024 bits.
        Some(_) => 160,
    }
}

/// How the segments of a run are authenticated.
type Suite = fn(&mut Rng) -> Auth;

fn cheap(rng: &mut Rng) -> Auth {
    match rng.below(8) {
        0 => Auth::null(),
        1 => Auth::hmac_sha1(Key {
            id: b"k"[..].into(),
            secret: b"secret"[..].into(),
        }),
        _ => Auth::OFF,
    }
}

/// A block that was accepted for sending.
struct Sent {
    from: u64,
    tag: u64,
    session: SessionId,
    data: Vec<u8>,
    red: usize,
}

struct Storm {
    line: Line,
    rng: Rng,
    is_dark: Rc<Cell<bool>>,
    delay: Duration,
    auth: Auth,
    sent: Vec<Sent>,
    tags: u64,
    /// Events of each engine when it last had no room for a block.
    refused: [Option<usize>; 2],
}

impl Storm {
    fn new(seed: u64, suite: Suite) -> Self {
        let mut rng = Seed::from(seed).child("world").rng();
        let delay = Duration::from_nanos(rng.below(2_000_000_000));
        let auth = suite(&mut rng);
        let is_dark = Rc::new(Cell::new(false));
        let mut weather = Weather::new(seed, is_dark.clone());
        let options = (rng.next_u64(), rng.next_u64());
        let mut line = Line::with(
            seed,
            delay,
            |config| config_by_chance(config, options.0),
            |peer| {
                let own = Seed::from(options.1 ^ u64::from(peer.address.via));
                *peer = Peer {
                    address: peer.address,
                    ..peer_by_chance(&mut own.rng(), delay, &auth)
                };
            },
        )
        .judged(move |_| weather.outcome());
        line.stores = true;
        Self {
            line,
            rng,
            is_dark,
            delay,
            auth,
            sent: Vec::new(),
            tags: 0,
            refused: [None; 2],
        }
    }

    fn engine(&mut self, id: u64) -> &mut Engine<Hop> {
        match id {
            1 => self.line.near(),
            _ => self.line.far(),
        }
    }

    /// One of the two engines, the second one less often.
    fn someone(&mut self) -> u64 {
        pick(&mut self.rng, [1, 1, 2])
    }

    fn act(&mut self) {
        let id = self.someone();
        let now = self.line.now;
        match self.rng.below(32) {
            0..=9 => self.send(id),
            10 => {
                let tag = Tag(self.rng.below(self.tags + 1));
                let _ = self.engine(id).cancel(now, tag);
            }
            11 => {
                let tag = Tag(self.rng.below(self.tags + 1));
                let _ = self.engine(id).checkpoint(now, tag);
            }
            12 => self.refuse(),
            13 | 14 => self.open_or_close(id),
            15 => self.change_peer(id),
            16 => self.remove_peer(id),
            17..=20 => self.outage(),
            21..=22 => self.contact(id),
            23 => {
                self.line.link(id as usize - 1, Link::Full);
                self.pass(5_000_000_000);
                self.line.link(id as usize - 1, Link::Free);
            }
            24..=26 => self.revenant(),
            _ => self.pass(4_000_000_000),
        }
    }

    fn pass(&mut self, most: u64) {
        let span = Duration::from_nanos(self.rng.below(most));
        self.line.run_for(span);
    }

    fn send(&mut self, id: u64) {
        let len = 1 + self.rng.below(3000);
        let red = match self.rng.below(4) {
            0 => 0,
            1 => self.rng.below(len + 1),
            _ => len,
        };
        let mut data = pattern(len as usize);
        // No two blocks are alike.
        data.rotate_left((self.tags % len) as usize);
        self.tags += 1;
        let client = pick(
            &mut self.rng,
            [CLIENTS[0], CLIENTS[0], CLIENTS[0], CLIENTS[1], CLIENTS[2]],
        );
        let block = Block {
            to: 3 - id,
            client,
            ..block(self.tags, &data, Red::Octets(red))
        };
        let (now, tag) = (self.line.now, self.tags);
        match self.engine(id).send_block(now, block) {
            Ok(session) => self.sent.push(Sent {
                from: id,
                tag,
                session,
                data,
                red: red as usize,
            }),
            Err(Error::Full { .. }) => {
                let node = id as usize - 1;
                self.refused[node] = Some(self.line.nodes[node].events.len());
            }
            Err(Error::UnknownPeer(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    fn refuse(&mut self) {
        let count = self.sent.len() as u64;
        if count == 0 {
            return;
        }
        let at = self.rng.below(count) as usize;
        let (session, to) = (self.sent[at].session, 3 - self.sent[at].from);
        let now = self.line.now;
        let _ = self.engine(to).refuse(now, session);
    }

    fn open_or_close(&mut self, id: u64) {
        let now = self.line.now;
        let client = pick(&mut self.rng, [CLIENTS[0], CLIENTS[1]]);
        let services = [Service::Whole, Service::Streaming, Service::Scattered];
        let service = pick(&mut self.rng, services);
        if self.engine(id).close(now, client).is_ok() && self.rng.below(2) == 0 {
            self.pass(2_000_000_000);
        }
        let now = self.line.now;
        let _ = self.engine(id).open(now, client, service);
    }

    fn some_peer(&mut self, of: u64) -> Peer<Hop> {
        let peer = peer_by_chance(&mut self.rng, self.delay, &self.auth);
        Peer {
            address: hop(3 - of),
            ..peer
        }
    }

    fn change_peer(&mut self, id: u64) {
        let peer = self.some_peer(id);
        let now = self.line.now;
        let _ = self.engine(id).change_peer(now, 3 - id, peer);
    }

    /// Removes the peer, and adds it again most times.
    fn remove_peer(&mut self, id: u64) {
        let now = self.line.now;
        let _ = self.engine(id).remove_peer(now, 3 - id);
        self.refused[id as usize - 1] = None;
        self.pass(3_000_000_000);
        if self.rng.below(8) > 0 {
            let peer = self.some_peer(id);
            let now = self.line.now;
            let _ = self.engine(id).add_peer(now, 3 - id, peer);
        }
    }

    /// A contact ends for both engines and on the line, or one engine does not know of it.
    fn outage(&mut self) {
        let (knows, is_dark) = (self.rng.below(4), self.rng.below(2) == 0);
        for node in 0..2 {
            if knows != node {
                self.line.link(node as usize, Link::Down(Cause::Closed));
            }
        }
        self.is_dark.set(is_dark);
        self.pass(60_000_000_000);
        self.is_dark.set(false);
        self.line.link(0, Link::Up);
        self.line.link(1, Link::Up);
    }

    fn contact(&mut self, id: u64) {
        let (begin, end) = pick(
            &mut self.rng,
            [
                (Cue::MustStop, Cue::MayTransmit),
                (Cue::PeerStopped, Cue::PeerTransmits),
            ],
        );
        let now = self.line.now;
        let _ = self.engine(id).contact(now, 3 - id, begin);
        self.pass(20_000_000_000);
        let now = self.line.now;
        let _ = self.engine(id).contact(now, 3 - id, end);
    }

    /// A segment arrives again, however old it is.
    fn revenant(&mut self) {
        let count = self.line.log.len() as u64;
        if count == 0 {
            return;
        }
        let (_, from, octets) = &self.line.log[self.rng.below(count) as usize];
        let (to, octets) = (3 - from, octets.clone());
        self.line.deliver(to, &octets);
    }
}

fn config_by_chance(config: &mut Config, seed: u64) {
    let mut rng = Seed::from(seed).rng();
    *config = Config {
        engine: config.engine,
        numbers: pick(&mut rng, [Numbers::Bits32, Numbers::Bits64]),
        limits: EngineLimits {
            exports: pick(&mut rng, [3, 1 << 17, 1 << 17]),
            imports: pick(&mut rng, [3, 1 << 17, 1 << 17]),
            import_octets: pick(&mut rng, [8000, 1 << 30, 1 << 30]),
            control_segments: pick(&mut rng, [2, 1 << 14, 1 << 14]),
            ..EngineLimits::default()
        },
        notify_sent: rng.below(2) == 0,
        ..Config::default()
    };
}

/// The events of one session at one engine.
#[derive(Default)]
struct SessionEvents {
    has_arrived: bool,
    whole: Option<Vec<u8>>,
    pieces: Vec<u8>,
    given: RangeSet,
    is_cancelled: bool,
}

/// Checks the events of received sessions: each block is received once and whole, nothing follows its cancellation,
/// and every octet is that of the sender.
fn told(events: &[Event], sent: &BTreeMap<SessionId, &Sent>) -> BTreeMap<SessionId, SessionEvents> {
    let mut all: BTreeMap<SessionId, SessionEvents> = BTreeMap::new();
    for event in events {
        let (Event::Started { session, .. }
        | Event::Piece { session, .. }
        | Event::Segment { session, .. }
        | Event::RedPart { session, .. }
        | Event::Received { session, .. }
        | Event::Green { session, .. }
        | Event::Cancelled { session, .. }) = event
        else {
            continue;
        };
        let told = all.entry(*session).or_default();
        let block = sent[session];
        // A sender that comes back when its session is forgotten is cancelled anew.
        let is_anew = matches!(event, Event::Cancelled { .. });
        assert!(
            !told.is_cancelled || is_anew,
            "after the cancellation: {event:?}"
        );
        match event {
            Event::Started { .. } => {
                assert!(!told.has_arrived, "{session} arrives twice");
                told.has_arrived = true;
            }
            Event::Piece { offset, data, .. } => {
                assert_eq!(*offset, told.pieces.len() as u64, "{session}");
                told.pieces.extend_from_slice(data);
                let end = told.pieces.len();
                assert_eq!(told.pieces[..], block.data[..end], "{session}");
            }
            Event::Segment { offset, data, .. } => {
                let end = offset + data.len() as u64;
                let fresh = told.given.insert(*offset..end);
                assert_eq!(fresh, data.len() as u64, "{session}: octets twice");
                let range = *offset as usize..end as usize;
                assert_eq!(data[..], block.data[range], "{session}");
            }
            Event::RedPart {
                len, ends_block, ..
            } => {
                let red = block.red as u64;
                assert_eq!((*len, told.given.len()), (red, red), "{session}");
                assert_eq!(*ends_block, block.red == block.data.len(), "{session}");
                assert!(told.whole.is_none(), "{session} was delivered twice");
                told.whole = Some(block.data[..block.red].to_vec());
            }
            Event::Received {
                data, ends_block, ..
            } => {
                assert_eq!(data[..], block.data[..block.red], "{session}");
                assert_eq!(*ends_block, block.red == block.data.len(), "{session}");
                assert!(told.whole.is_none(), "{session} was delivered twice");
                told.whole = Some(data.to_vec());
            }
            Event::Green { offset, data, .. } => {
                let offset = *offset as usize;
                assert!(offset >= block.red, "{session}: red as green");
                let part = &block.data[offset..offset + data.len()];
                assert_eq!(data[..], *part, "{session}");
            }
            Event::Cancelled { after_delivery, .. } => {
                assert_eq!(*after_delivery, told.whole.is_some(), "{session}");
                told.is_cancelled = true;
            }
            _ => {}
        }
    }
    all
}

/// Sends random blocks in both directions, and checks what must hold in every run.
fn storm(seed: u64, suite: Suite, tally: &Tally) {
    let mut storm = Storm::new(seed, suite);
    let acts = 4 + storm.rng.below(24);
    for _ in 0..acts {
        storm.act();
        storm.line.drain();
    }
    storm.line.run();

    let Storm {
        line,
        sent,
        refused,
        ..
    } = &mut storm;
    assert_eq!(line.left(), (0, 0, 0), "something is left");
    let events = [line.events(1), line.events(2)];
    let mut by_session: BTreeMap<SessionId, &Sent> =
        sent.iter().map(|sent| (sent.session, sent)).collect();
    assert_eq!(by_session.len(), sent.len(), "a session number twice");
    // The session of a block that was sent once more, since its early checkpoints were refused.
    let mut seconds: BTreeMap<u64, SessionId> = BTreeMap::new();
    for event in events.iter().flatten() {
        if let Event::Restarted { tag, session } = event {
            let block = sent.iter().find(|sent| sent.tag == tag.0).unwrap();
            assert!(seconds.insert(tag.0, *session).is_none(), "a third time");
            by_session.insert(*session, block);
        }
    }
    let told = [told(&events[0], &by_session), told(&events[1], &by_session)];
    for (refused, events) in refused.iter().zip(&events) {
        let told = refused.map(|from| &events[from..]);
        let has_room = |event: &Event| matches!(event, Event::Room { .. });
        assert!(told.is_none_or(|told| told.iter().any(has_room)), "no room");
    }
    tally.count(&events);
    for block in sent.iter() {
        let ends: Vec<&Event> = events[block.from as usize - 1]
            .iter()
            .filter(|event| {
                matches!(event, Event::Complete { tag, .. } | Event::Failed { tag, .. } if tag.0 == block.tag)
            })
            .collect();
        let [end] = ends[..] else {
            panic!("block {} has {} ends", block.tag, ends.len());
        };
        let is_sent = |event: &&Event| matches!(event, Event::Sent { tag } if tag.0 == block.tag);
        let sent = events[block.from as usize - 1].iter().filter(is_sent);
        assert!(sent.count() <= 1, "block {} was sent twice", block.tag);
        if let Event::Failed { data, .. } = end {
            assert_eq!(data[..], block.data[..], "given back");
            continue;
        }
        let session = seconds.get(&block.tag).unwrap_or(&block.session);
        let at_receiver = told[2 - block.from as usize].get(session);
        let is_delivered = at_receiver.is_some_and(|told| told.whole.is_some());
        assert!(
            is_delivered || block.red == 0,
            "block {} is complete and was not delivered",
            block.tag
        );
    }
}

/// How often each kind of event came, which shows that the seeds reach all of them.
#[derive(Default)]
struct Tally(Mutex<BTreeMap<String, usize>>);

impl Tally {
    fn count(&self, events: &[Vec<Event>]) {
        let mut kinds = self.0.lock().unwrap();
        for event in events.iter().flatten() {
            let kind = match event {
                Event::Failed { by, reason, .. } => format!("failed, {by:?} {}", reason.0),
                Event::Cancelled {
                    by,
                    reason,
                    after_delivery,
                    ..
                } => {
                    let late = if *after_delivery { ", delivered" } else { "" };
                    format!("cancelled, {by:?} {}{late}", reason.0)
                }
                other => {
                    let name = format!("{other:?}");
                    let end = name.find(' ').unwrap_or(name.len());
                    name[..end].to_lowercase()
                }
            };
            *kinds.entry(kind).or_insert(0) += 1;
        }
    }
}

#[test]
fn each_block_is_delivered_once_and_whole_or_reported_failed_and_nothing_is_left() {
    let tally = Tally::default();

    for_each_seed(500, |seed| storm(seed, cheap, &tally));

    for (kind, count) in tally.0.lock().unwrap().iter() {
        println!("{count:>7} {kind}");
    }
}

#[test]
fn a_ping_that_ends_in_a_silence_leaves_no_session_behind() {
    for seed in [1043, 1475, 2816] {
        storm(seed, cheap, &Tally::default());
    }
}

/// Signatures take long, so there are few seeds.
#[cfg(all(feature = "ltp-rsa", feature = "serde"))]
#[test]
fn the_same_holds_when_every_segment_is_signed_with_rsa() {
    let tally = Tally::default();

    for seed in 0..3 {
        storm(seed, |_| crate::secrets::rsa(0), &tally);
    }
}

#[test]
fn octets_of_chance_never_hurt() {
    let mut rng = Seed::from(1).rng();
    let mut line = Line::new(1, Duration::ZERO);
    let now = line.now;
    line.near()
        .send_block(now, block(1, &pattern(5000), Red::All))
        .unwrap();
    for _ in 0..20_000 {
        let mut octets = vec![0; rng.below(40) as usize];
        rng.fill(&mut octets);
        if let Some(first) = octets.first_mut() {
            *first &= 0xF;
        }
        if let Some(originator) = octets.get_mut(1) {
            *originator = 1 + (*originator & 1);
        }
        line.near().receive(now, hop(2), &octets);
        line.far().receive(now, hop(1), &octets);
    }
    line.run();
    assert_eq!(line.left(), (0, 0, 0));
}
