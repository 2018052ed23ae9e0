//! Queries with credentials: RFC 8489 sections 9.1, 9.2 and 10.

use farlink::stun::{
    Attribute, AttributeType, Class, Config, CredentialKind, Credentials, Event, Integrity,
    IntegrityKey, KeyAlgorithm, MessageWriter, Method, PasswordAlgorithm, PasswordAlgorithms,
    Query, QueryFailure, userhash,
};

use crate::talk::{Sent, Talk, addr, mapped, message, ms, server};

const REALM: Attribute<'static> = Attribute::Realm(b"lab.example");
const OLD_NONCE: &[u8] = b"f//499k954d6OL34oL9FSTvy64sA";
/// Nonces with password algorithms, and with anonymity too.
const ALGORITHMS_NONCE: &[u8] = b"obMatJos2gAAA-1";
const BOTH_NONCE: &[u8] = b"obMatJos2wAAA-1";
const LIST: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

fn credentials(kind: CredentialKind) -> Query {
    Query {
        credentials: Some(Credentials {
            username: String::from("alice"),
            password: String::from("secret1"),
            kind,
        }),
        ..Query::default()
    }
}

fn long_term() -> Query {
    credentials(CredentialKind::LongTerm)
}

fn key(algorithm: KeyAlgorithm) -> IntegrityKey {
    IntegrityKey::long_term(b"alice", b"lab.example", b"secret1", algorithm)
}

fn list(octets: &[u8]) -> Attribute<'_> {
    Attribute::PasswordAlgorithms(PasswordAlgorithms::from_octets(octets).unwrap())
}

/// The server of the last request answers, signed.
fn answer_signed(
    talk: &mut Talk,
    class: Class,
    attributes: &[Attribute<'_>],
    key: &IntegrityKey,
    kind: Integrity,
) {
    let sent = talk.last();
    let mut octets = Vec::new();
    let mut writer = MessageWriter::new(&mut octets, Method::BINDING, class, sent.id());
    for attribute in attributes {
        writer.attribute(attribute);
    }
    writer.integrity(key, kind);
    writer.fingerprint();
    talk.receive(sent.path, &octets);
}

/// A query that was challenged by a server of RFC 5389.
fn challenged() -> Talk {
    let mut talk = Talk::new(Config::default());
    talk.query(7, talk.udp(), long_term());
    talk.refuse(401, &[REALM, Attribute::Nonce(OLD_NONCE)]);
    talk.wait(ms(50));
    talk
}

fn has(sent: &Sent, kind: AttributeType) -> bool {
    sent.find(kind).is_some()
}

#[test]
fn the_first_request_is_unsigned_and_the_second_one_answers_the_challenge() {
    let mut talk = challenged();

    let [first, second] = &talk.sent[..] else {
        panic!("{:?}", talk.sent);
    };
    for kind in [
        AttributeType::USERNAME,
        AttributeType::REALM,
        AttributeType::NONCE,
        AttributeType::MESSAGE_INTEGRITY,
    ] {
        assert_eq!(
            (has(first, kind), has(second, kind)),
            (false, true),
            "{kind}"
        );
    }
    assert_ne!(first.id(), second.id(), "another transaction");
    assert_eq!(
        second.message().verify(&key(KeyAlgorithm::Md5)),
        Ok(Integrity::Sha1)
    );
    assert_eq!(second.message().check_fingerprint(), Some(true));
    let kind = Integrity::Sha1;
    answer_signed(
        &mut talk,
        Class::Success,
        &[mapped()],
        &key(KeyAlgorithm::Md5),
        kind,
    );
    let [Event::Answered { answer, .. }] = &talk.events[..] else {
        panic!("{:?}", talk.events);
    };
    assert_eq!((answer.is_verified, answer.sends), (true, 2));
}

#[test]
fn later_requests_are_signed_from_the_start() {
    let mut talk = challenged();
    answer_signed(
        &mut talk,
        Class::Success,
        &[mapped()],
        &key(KeyAlgorithm::Md5),
        Integrity::Sha1,
    );

    talk.query(8, talk.udp(), long_term());
    talk.wait(ms(50));

    assert!(has(&talk.last(), AttributeType::MESSAGE_INTEGRITY));
    let mut other = long_term();
    if let Some(credentials) = &mut other.credentials {
        credentials.username = String::from("bob");
    }
    talk.query(9, talk.udp(), other);
    talk.wait(ms(50));
    assert!(
        !has(&talk.last(), AttributeType::MESSAGE_INTEGRITY),
        "of another user"
    );
}

#[test]
fn a_list_of_algorithms_is_returned_and_the_first_known_one_is_taken() {
    for (octets, algorithm) in [
        (&LIST[..], KeyAlgorithm::Sha256),
        (&[0, 1, 0, 0, 0, 2, 0, 0], KeyAlgorithm::Md5),
        (&[0, 9, 0, 3, 1, 2, 3, 0, 0, 2, 0, 0], KeyAlgorithm::Sha256),
    ] {
        let mut talk = Talk::new(Config::default());
        talk.query(7, talk.udp(), long_term());
        let nonce = Attribute::Nonce(ALGORITHMS_NONCE);

        talk.refuse(401, &[REALM, nonce, list(octets)]);
        talk.wait(ms(50));

        let sent = talk.last();
        assert_eq!(
            sent.find(AttributeType::PASSWORD_ALGORITHMS),
            Some(list(octets))
        );
        let chosen = PasswordAlgorithm {
            number: algorithm.number(),
            parameters: &[],
        };
        assert_eq!(
            sent.find(AttributeType::PASSWORD_ALGORITHM),
            Some(Attribute::PasswordAlgorithm(chosen))
        );
        assert!(!has(&sent, AttributeType::MESSAGE_INTEGRITY));
        assert_eq!(
            sent.message().verify(&key(algorithm)),
            Ok(Integrity::Sha256)
        );
        // An answer with the weaker attribute is none.
        answer_signed(
            &mut talk,
            Class::Success,
            &[mapped()],
            &key(algorithm),
            Integrity::Sha1,
        );
        assert_eq!((talk.events.len(), talk.client.stats().unverified), (0, 1));
        answer_signed(
            &mut talk,
            Class::Success,
            &[mapped()],
            &key(algorithm),
            Integrity::Sha256,
        );
        talk.mapped();
    }
}

#[test]
fn a_user_name_is_hidden_where_the_server_wants_it() {
    let mut talk = Talk::new(Config::default());
    talk.query(7, talk.udp(), long_term());

    talk.refuse(401, &[REALM, Attribute::Nonce(BOTH_NONCE), list(&LIST)]);
    talk.wait(ms(50));

    let sent = talk.last();
    let hash = userhash(b"alice", b"lab.example");
    assert_eq!(
        sent.find(AttributeType::USERHASH),
        Some(Attribute::Userhash(&hash))
    );
    assert!(!has(&sent, AttributeType::USERNAME));
    assert_eq!(
        sent.message().verify(&key(KeyAlgorithm::Sha256)),
        Ok(Integrity::Sha256)
    );
}

/// RFC 8489 section 9.2.5: the nonce, which the server sees again, says that there was a list.
#[test]
fn a_challenge_without_its_algorithms_is_not_answered() {
    for attributes in [
        &[REALM, Attribute::Nonce(ALGORITHMS_NONCE)][..],
        &[REALM],
        &[Attribute::Nonce(OLD_NONCE)],
    ] {
        let mut talk = Talk::new(Config::default());
        talk.query(7, talk.udp(), long_term());
        talk.refuse(401, attributes);
        assert_eq!(talk.failure(), &QueryFailure::BadChallenge);
    }
    let mut talk = Talk::new(Config::default());
    talk.query(7, talk.udp(), long_term());
    let unknown = [0, 9, 0, 0];
    talk.refuse(
        401,
        &[REALM, Attribute::Nonce(ALGORITHMS_NONCE), list(&unknown)],
    );
    assert_eq!(talk.failure(), &QueryFailure::NoAlgorithm);
}

#[test]
fn an_answer_whose_nonce_lacks_its_algorithms_is_ignored() {
    let mut talk = challenged();
    let attributes = [mapped(), Attribute::Nonce(ALGORITHMS_NONCE)];

    let key = key(KeyAlgorithm::Md5);
    answer_signed(
        &mut talk,
        Class::Success,
        &attributes,
        &key,
        Integrity::Sha1,
    );

    assert_eq!((talk.events.len(), talk.client.stats().unverified), (0, 1));
}

#[test]
fn a_wrong_password_is_told_within_two_round_trips() {
    let mut talk = challenged();

    talk.refuse(401, &[REALM, Attribute::Nonce(b"another")]);

    let reason = String::from("because");
    assert_eq!(talk.failure(), &QueryFailure::WrongCredentials { reason });
    assert_eq!(talk.sent.len(), 2);
}

#[test]
fn a_server_that_changes_its_realm_is_answered_once_more() {
    let mut talk = challenged();

    for (realm, sent) in [(&b"other.example"[..], 3), (b"third.example", 3)] {
        talk.refuse(401, &[Attribute::Realm(realm), Attribute::Nonce(OLD_NONCE)]);
        talk.wait(ms(50));
        assert_eq!(talk.sent.len(), sent);
    }

    assert!(matches!(
        talk.failure(),
        QueryFailure::WrongCredentials { .. }
    ));
}

#[test]
fn a_stale_nonce_is_replaced_in_any_number_of_queries_and_three_times_in_one() {
    let mut talk = challenged();
    for nonce in [&b"second"[..], b"third", b"fourth"] {
        talk.refuse(438, &[REALM, Attribute::Nonce(nonce)]);
        talk.wait(ms(50));
        assert_eq!(
            talk.last().find(AttributeType::NONCE),
            Some(Attribute::Nonce(nonce))
        );
        let verified = talk.last().message().verify(&key(KeyAlgorithm::Md5));
        assert_eq!(verified, Ok(Integrity::Sha1));
    }
    assert_eq!(talk.events, []);

    talk.refuse(438, &[REALM, Attribute::Nonce(b"fifth")]);

    assert_eq!(talk.failure(), &QueryFailure::StaleNonces);
}

/// In a batch, a late 438 to an old nonce must not undo the one that was told since.
#[test]
fn the_newest_nonce_is_taken_for_all_queries() {
    let mut talk = challenged();
    talk.query(8, talk.udp(), long_term());
    talk.wait(ms(50));
    let [_, first, second] = &talk.sent.clone()[..] else {
        panic!("{:?}", talk.sent);
    };
    let stale = |sent: &Sent, nonce| {
        let code = farlink::stun::ErrorCode {
            code: 438,
            reason: b"Stale Nonce",
        };
        let attributes = [Attribute::ErrorCode(code), REALM, Attribute::Nonce(nonce)];
        message(sent.id(), Class::Error, &attributes)
    };
    talk.receive(first.path, &stale(first, b"newer"));
    talk.receive(second.path, &stale(second, b"older"));
    talk.wait(ms(100));

    for sent in &talk.sent[3..] {
        let nonce = sent.find(AttributeType::NONCE);
        assert_eq!(nonce, Some(Attribute::Nonce(b"newer")));
    }
}

#[test]
fn an_unsigned_answer_to_a_signed_request_is_discarded() {
    let mut talk = challenged();

    talk.answer(Class::Success, &[mapped()]);
    let other = IntegrityKey::short_term(b"other");
    answer_signed(
        &mut talk,
        Class::Success,
        &[mapped()],
        &other,
        Integrity::Sha1,
    );
    talk.refuse(400, &[]);
    assert_eq!(talk.events, []);
    talk.wait(ms(40_000));

    let silence = talk.silence();
    assert_eq!(silence.unverified, 3);
    assert_eq!(silence.unverified_code, Some(400));
    assert!(
        talk.failure()
            .to_string()
            .contains("; 3 not signed by the server, the first with error 400")
    );
}

#[test]
fn over_tcp_an_unsigned_answer_ends_the_transaction() {
    let mut talk = Talk::new(Config::default());
    talk.query(7, talk.tcp(), long_term());
    talk.refuse(401, &[REALM, Attribute::Nonce(OLD_NONCE)]);
    talk.wait(ms(50));

    talk.answer(Class::Success, &[mapped()]);

    assert_eq!(talk.silence().unverified, 1);
    assert_eq!(talk.asks.len(), 1, "one connection");
}

#[test]
fn short_term_credentials_sign_in_both_ways_until_the_server_has_chosen() {
    let mut talk = Talk::new(Config::default());
    let query = credentials(CredentialKind::ShortTerm);
    let key = IntegrityKey::short_term(b"secret1");
    talk.query(7, talk.udp(), query.clone());
    let sent = talk.last();
    assert!(has(&sent, AttributeType::MESSAGE_INTEGRITY));
    assert_eq!(sent.message().verify(&key), Ok(Integrity::Sha256));
    assert!(!has(&sent, AttributeType::REALM));

    answer_signed(
        &mut talk,
        Class::Success,
        &[mapped()],
        &key,
        Integrity::Sha1,
    );
    talk.mapped();
    talk.query(8, talk.udp(), query);
    talk.wait(ms(50));

    assert_eq!(talk.last().message().verify(&key), Ok(Integrity::Sha1));
    answer_signed(
        &mut talk,
        Class::Success,
        &[mapped()],
        &key,
        Integrity::Sha256,
    );
    assert_eq!(talk.events.len(), 1, "it was not asked for");
}

/// RFC 8489 section 14.15: anybody could send a client elsewhere.
#[test]
fn only_a_signed_answer_sends_a_query_to_another_server() {
    let next = addr("192.0.2.7:3478");
    let mut talk = challenged();
    let code = farlink::stun::ErrorCode {
        code: 300,
        reason: b"Try Alternate",
    };
    let attributes = [
        Attribute::ErrorCode(code),
        Attribute::AlternateServer(addr("[2001:db8::1]:1")),
        Attribute::AlternateServer(next),
    ];
    talk.answer(Class::Error, &attributes);
    assert_eq!(talk.client.stats().unverified, 1);

    let key = key(KeyAlgorithm::Md5);
    answer_signed(&mut talk, Class::Error, &attributes, &key, Integrity::Sha1);
    let sent = talk.last();
    assert_eq!(sent.path.remote, next);
    assert!(
        !has(&sent, AttributeType::MESSAGE_INTEGRITY),
        "a first request again"
    );

    talk.refuse(401, &[REALM, Attribute::Nonce(OLD_NONCE)]);
    talk.wait(ms(50));
    let back = [
        Attribute::ErrorCode(code),
        Attribute::AlternateServer(server()),
    ];
    answer_signed(&mut talk, Class::Error, &back, &key, Integrity::Sha1);
    assert!(
        matches!(talk.failure(), QueryFailure::Rejected { code: 300, .. }),
        "round in a circle: {:?}",
        talk.events
    );
}

#[test]
fn debug_hides_a_password() {
    assert_eq!(
        format!("{:?}", long_term().credentials.unwrap()),
        "Credentials(\"alice\", LongTerm)"
    );
}
