//! COTP against octets from the RFCs and from real programs, in both directions.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/cotp_captures.rs"]
mod cotp_captures;
#[path = "support/cotp_talk.rs"]
mod cotp_talk;
#[path = "support/vector_octets.rs"]
mod vector_octets;

use core::fmt::Write as _;

use bytes::Bytes;
use cotp_captures::{
    CONVERSATIONS, Case, Connect, Conversation, Octets, Odd, Ours, Record, Rfc, Side, fields,
    order, stream, unhex,
};
use cotp_talk::Talk;
use farlink::cotp::{
    Compat, Config, ConnectionEnd, DataTpdu, DisconnectReason, DisconnectRequest, EndReason,
    ErrorReport, Expedited, HEADER, Policy, ProtocolError, RejectCause, Selector, Strict, Tpdu,
    TpduSize, Tpkt,
};
use farlink::{Cause, Framing as _, Link};

#[test]
fn rfc_tpdus_decode_to_their_fields() {
    let rfc: Rfc = cotp_captures::read("rfc");
    for vector in &rfc.vectors {
        let octets = vector.octets.to_vec();

        let tpdus = tpdus_of(&octets);

        let [tpdu] = tpdus.as_slice() else {
            panic!("{}: {} packets", vector.name, tpdus.len());
        };
        with_expected(&vector.tpdu, |expected| {
            assert_eq!(Tpdu::decode(tpdu).unwrap(), expected, "{}", vector.name);
        });
    }
    assert!(rfc.vectors.len() > 10, "the file was read");
}

#[test]
fn rfc_tpdus_encode_to_their_octets() {
    let rfc: Rfc = cotp_captures::read("rfc");
    for vector in &rfc.vectors {
        with_expected(&vector.tpdu, |tpdu| {
            let octets = packet(&tpdu);

            assert_eq!(octets, vector.octets.to_vec(), "{}", vector.name);
        });
    }
}

#[test]
fn rfc_malformed_packets_are_blamed_on_the_octet_at_fault() {
    let rfc: Rfc = cotp_captures::read("rfc");
    for malformed in &rfc.malformed {
        let octets = unhex(&malformed.octets);

        let offset = fault_of(&octets);

        assert_eq!(offset, Some(malformed.offset), "{}", malformed.name);
    }
    assert!(rfc.malformed.len() > 10, "the file was read");
}

#[test]
fn rfc_messages_are_cut_by_the_agreed_size() {
    let rfc: Rfc = cotp_captures::read("rfc");
    for cut in &rfc.segmentations {
        let config = Config {
            tpdu_size: TpduSize::from_octets(cut.tpdu_size).unwrap(),
            compat: Compat {
                reference: Some(1),
                ..Compat::default()
            },
            ..Config::default()
        };
        let mut talk = Talk::new(config, vec![cut.message.to_vec().into()]);
        let cr = talk.written.len();

        talk.receive(&unhex("0300000b06d00001000200"));

        let written = &talk.written[cr..];
        assert_eq!(written, cut.octets.to_vec(), "at size {}", cut.tpdu_size);
    }
    assert!(rfc.segmentations.len() > 5, "the file was read");
}

#[test]
fn rfc_segments_become_one_message() {
    let rfc: Rfc = cotp_captures::read("rfc");
    for cut in &rfc.segmentations {
        let octets = cut.octets.to_vec();
        for size in [1, 100, octets.len()] {
            let mut talk = Talk::new(responder(), Vec::new());
            talk.receive(&unhex("0300000b06e00000123400"));

            octets.chunks(size).for_each(|chunk| talk.receive(chunk));

            assert_eq!(talk.messages, [cut.message.to_vec()]);
        }
    }
}

#[test]
fn captured_packets_decode_and_encode_byte_for_byte() {
    let mut count = 0;
    for name in CONVERSATIONS {
        let conversation: Conversation = cotp_captures::read(name);
        for side in [Side::Client, Side::Server] {
            let octets = stream(&conversation.records, side);
            let mut again = Vec::new();
            for tpdu in tpdus_of(&octets) {
                again.extend(packet(&Tpdu::decode(&tpdu).unwrap()));
                count += 1;
            }
            assert_eq!(again, octets, "{name}, {side:?}");
        }
        for decoded in &conversation.tpdus {
            let octets = decoded.octets.to_vec();
            with_expected(&decoded.tpdu, |expected| {
                assert_eq!(Tpdu::decode(&octets[HEADER..]).unwrap(), expected, "{name}");
                assert_eq!(packet(&expected), octets, "{name}");
            });
        }
    }
    assert!(count > 400, "{count} packets");
}

/// Replays a captured conversation with a responder in place of the server.
#[test]
fn captured_clients_are_understood() {
    for name in CONVERSATIONS {
        let conversation: Conversation = cotp_captures::read(name);
        let config = conversation.config(Side::Server);
        plays(name, &conversation, Side::Server, &config);
    }
}

/// Replays a captured conversation with an initiator in place of the client.
#[test]
fn captured_servers_are_understood() {
    for name in CONVERSATIONS {
        let conversation: Conversation = cotp_captures::read(name);
        let config = conversation.config(Side::Client);
        plays(name, &conversation, Side::Client, &config);
    }
}

/// Replays one side. The octets of the other side give the negotiated parameters and the messages, and this
/// side writes the captured octets.
fn plays(name: &str, conversation: &Conversation, side: Side, config: &Config) {
    let (own, peer): (Vec<_>, Vec<_>) = conversation
        .messages
        .iter()
        .partition(|message| message.from == side);
    let own: Vec<Bytes> = own.iter().map(|own| own.octets.to_vec().into()).collect();
    let peer: Vec<Vec<u8>> = peer.iter().map(|peer| peer.octets.to_vec()).collect();
    let records = conversation.records.iter();
    let chunks: Vec<Vec<u8>> = records
        .filter(|record| record.from != side)
        .filter_map(|record| record.octets.as_ref().map(Octets::to_vec))
        .collect();
    let octets = chunks.concat();
    for chunks in [chunks, vec![octets.clone()], singly(&octets)] {
        let mut talk = Talk::new(config.clone(), own.clone());

        for chunk in &chunks {
            talk.receive(chunk);
        }
        talk.link(Link::Ended);

        let connected = talk.connected.as_ref().expect(name);
        let agreed = &conversation.agreed;
        assert_eq!(connected.tpdu_size, agreed.tpdu_size, "{name}");
        assert_eq!(hex_of(connected.calling.as_ref()), agreed.calling, "{name}");
        assert_eq!(hex_of(connected.called.as_ref()), agreed.called, "{name}");
        assert_eq!(talk.messages, peer, "{name}");
        assert_eq!(
            talk.written,
            stream(&conversation.records, side),
            "{name}, as the {side:?}"
        );
        let end = talk.end.as_ref().expect(name);
        assert_eq!((&end.reason, end.incomplete), (&EndReason::PeerClosed, 0));
        assert!(talk.pass_time(), "{name}: it ends");
    }
}

/// Makes one test of each odd case.
macro_rules! odd {
    ($file:literal, $check_outcome:path: $($name:ident)*) => {
        /// The names of the tests.
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                $check_outcome($file, stringify!($name));
            }
        )*

        #[test]
        fn every_case_has_a_test() {
            let odd: super::Odd = super::cotp_captures::read($file);
            let names: Vec<&str> = odd.cases.iter().map(|case| case.name.as_str()).collect();
            assert_eq!(names, NAMES);
        }
    };
}

mod odd_clients {
    odd! { "20_odd_clients", super::check_client:
        tpkt_version_2
        tpkt_reserved_nonzero
        tpkt_length_0
        tpkt_length_4_empty
        tpkt_length_6
        tpkt_length_7_dt_before_cr
        http_request
        cr_minimal_no_params
        cr_class_4
        cr_class_2_alt_class_0
        cr_class_0_option_bits_1
        cr_nonzero_dst_ref
        cr_zero_src_ref
        cr_cdt_nonzero
        cr_size_code_6_below_range
        cr_size_code_7_128
        cr_size_code_13_8192
        cr_size_code_16_65536
        cr_size_code_0
        cr_size_code_162
        cr_size_len_0
        cr_size_len_2
        cr_pref_size_only_16
        cr_size_and_pref_size
        cr_pref_size_511
        cr_pref_size_0
        cr_duplicate_size
        cr_duplicate_called_tsel
        cr_unknown_param_0x99
        cr_version_checksum_opts
        cr_addl_option_len_2_s7_routing
        cr_tsel_empty
        cr_tsel_4
        cr_tsel_16_simatic
        cr_param_overruns_header
        cr_param_code_without_length
        cr_li_too_big
        cr_li_255
        cr_li_zero
        cr_li_5_short_fixed_part
        cr_li_excludes_params
        cr_user_data_after_header
        cr_rdp_cookie_in_li
        cr_rdp_neg_req_only
        cc_instead_of_cr
        dr_instead_of_cr
        unknown_tpdu_0x30
        cr_then_half_and_close
        cr_byte_by_byte
        cr_and_dt_in_one_write
        second_cr
        cc_during_data
        dt_empty_eot
        dt_empty_not_eot
        dt_not_eot_then_eot
        dt_nr_bits_set_0x81
        dt_li_3
        dt_li_1
        dt_li_4_class2_format
        dt_li_overrun
        dt_low_nibble_roa_0xf1
        dt_larger_than_negotiated_4000
        dt_max_tpkt_65535
        dt_concatenated_two_in_one_tpkt
        ed_expedited
        ak
        dc
        dr_reason_0
        dr_reason_128
        dr_wrong_refs
        dr_truncated_li_4
        dr_with_info_e0_and_user_data
        er_cause_2
        er_with_invalid_tpdu_param
        tpkt_bad_version_mid_stream
        half_tpkt_then_fin
        segment_without_eot_then_fin
        rst_mid_tpkt
        fin_after_data
    }
}

mod odd_servers {
    odd! { "21_odd_servers", super::check_server:
        cc_plain
        cc_no_params
        cc_size_128_then_300_octets
        cc_size_larger_than_proposed_8192
        cc_size_code_16_then_70000
        cc_size_code_2_then_10
        cc_size_code_1_then_10
        cc_pref_only_not_proposed
        cc_wrong_dst_ref
        cc_zero_src_ref
        cc_src_ref_equals_dst
        cc_class_2
        cc_class_0_option_bit
        cc_other_called_tsel
        cc_other_calling_tsel
        cc_tsels_swapped
        cc_tsel_longer_same_value
        cc_unknown_param
        cc_14_octets_size_only
        cc_extra_cdt_octet_python_snap7_bug
        cc_cdt_nonzero
        cc_then_dt_same_segment
        cc_split_per_octet
        refused_dr_0_unspecified
        refused_dr_1_congestion
        refused_dr_2_no_session
        refused_dr_3_address_unknown
        refused_dr_130_negotiation_failed
        refused_er_3
        refused_tcp_fin
        refused_tcp_rst
        dt_instead_of_cc
        cr_instead_of_cc
        no_answer
        half_a_cc
        garbage
        dr_after_connect
        er_after_connect
    }
}

/// Returns the deviations that are refused in a case.
fn strict(case: &Case) -> Strict {
    let refused = case
        .ours
        .strict
        .as_deref()
        .map(|name| Strict::from_name(name).expect("a flag"));
    Strict::default() | refused.unwrap_or(Strict::empty())
}

/// Checks a responder against the octets of an odd client.
fn check_client(file: &str, name: &str) {
    let (odd, at) = odd_case(file, name);
    let case = &odd.cases[at];
    let setup = &odd.setup;
    let config = Config {
        tpdu_size: setup
            .largest_tpdu
            .and_then(TpduSize::from_octets)
            .expect("a size"),
        compat: Compat {
            reference: setup.reference,
            order: order(setup.order.iter().copied()),
            strict: strict(case),
            ..responder().compat
        },
        ..responder()
    };
    for pieces in [whole, singly] {
        let mut talk = Talk::new(config.clone(), Vec::new());
        feed(&mut talk, case, Side::Client, pieces);
        check_outcome(case, &talk);

        if let Some(rejected) = &case.ours.invalid_tpdu {
            let tpdus = tpdus_of(&stream(&case.records, Side::Client));
            let Ok(Tpdu::Error(er)) = Tpdu::decode(tpdus.last().expect("an ER")) else {
                panic!("no ER at the end");
            };
            assert_eq!(&hex(er.invalid_tpdu().unwrap_or_default()), rejected);
        }
        let replies = case.ours.replies.as_deref().expect("replies");
        assert_eq!(hex(&talk.written), replies, "{}", case.ours.why);
        assert!(talk.pass_time(), "it ends");
    }
}

/// Checks an initiator against the octets of an odd server.
fn check_server(file: &str, name: &str) {
    let (odd, at) = odd_case(file, name);
    let case = &odd.cases[at];
    let setup = &odd.setup;
    let selector = |text: &Option<String>| text.as_deref().map(|text| Selector::new(unhex(text)));
    let config = Config {
        tpdu_size: setup
            .tpdu_size
            .and_then(TpduSize::from_octets)
            .expect("a size"),
        compat: Compat {
            reference: case.reference,
            order: order(setup.order.iter().copied()),
            strict: strict(case),
            ..Compat::default()
        },
        ..Config::initiator(selector(&setup.calling), selector(&setup.called))
    };
    let greeting: Vec<Bytes> = case
        .ours
        .sends
        .iter()
        .map(|sends| sends.to_vec().into())
        .collect();
    for pieces in [whole, singly] {
        let mut talk = Talk::new(config.clone(), greeting.clone());
        feed(&mut talk, case, Side::Server, pieces);
        check_outcome(case, &talk);

        let writes = case.ours.writes.as_ref().expect("writes").to_vec();
        assert_eq!(hex(&talk.written), hex(&writes), "{}", case.ours.why);
        assert!(talk.pass_time(), "it ends");
    }
}

fn odd_case(file: &str, name: &str) -> (Odd, usize) {
    let odd: Odd = cotp_captures::read(file);
    let at = odd.cases.iter().position(|case| case.name == name);
    (odd, at.expect("a case of this name"))
}

/// Passes the records of one side. The stream of one that timed out stays open, and time passes.
fn feed(talk: &mut Talk, case: &Case, side: Side, pieces: fn(&[u8]) -> Vec<Vec<u8>>) {
    let is_patient = case.ours.end == "timed_out";
    for Record { octets, event, .. } in case.records.iter().filter(|record| record.from == side) {
        if let Some(octets) = octets {
            for piece in pieces(&octets.to_vec()) {
                talk.receive(&piece);
            }
        }
        match event {
            Some(cotp_captures::End::Fin) if !is_patient => talk.link(Link::Ended),
            Some(cotp_captures::End::Rst) => talk.link(Link::Down(Cause::Reset)),
            _ => (),
        }
    }
    if is_patient {
        talk.pass_time();
    }
}

/// Compares the outcome of a case with its vector.
fn check_outcome(case: &Case, talk: &Talk) {
    let Ours {
        outcome,
        messages,
        why,
        ..
    } = &case.ours;
    let end = talk.end.as_ref().unwrap_or_else(|| panic!("no end: {why}"));
    let wanted: Vec<Vec<u8>> = messages.iter().map(Octets::to_vec).collect();

    assert_eq!(
        talk.connected.is_some(),
        matches!(outcome.as_str(), "confirm" | "connect"),
        "{end}: {why}"
    );
    assert_eq!(talk.messages, wanted, "{why}");
    judge_agreed(&case.ours, talk);
    check_end(&case.ours, end, talk.connected.is_some());
}

fn judge_agreed(ours: &Ours, talk: &Talk) {
    let Some(connected) = &talk.connected else {
        return;
    };
    let why = &ours.why;
    assert_eq!(Some(connected.tpdu_size), ours.tpdu_size, "{why}");
    if ours.outcome == "confirm" {
        assert_eq!(hex_of(connected.calling.as_ref()), ours.calling, "{why}");
        assert_eq!(hex_of(connected.called.as_ref()), ours.called, "{why}");
    }
    if let Some(variable) = &ours.variable {
        assert_eq!(&hex(&connected.variable), variable, "{why}");
    }
    if let Some(user_data) = &ours.user_data
        && ours.end != "disconnected"
    {
        assert_eq!(&hex(&connected.user_data), user_data, "{why}");
    }
}

fn check_end(ours: &Ours, end: &ConnectionEnd, was_open: bool) {
    // An ER refuses as well.
    let named = match name_of(end, was_open) {
        "protocol_error" if ours.outcome == "refuse_er" => "refused",
        named => named,
    };
    assert_eq!(named, ours.end, "{end:?}: {}", ours.why);
    match &end.reason {
        EndReason::Refused(dr) | EndReason::Disconnected(dr) => {
            assert_eq!(Some(dr.reason.0), ours.reason, "{}", ours.why);
            assert_eq!(hex(&dr.information), ours.info.clone().unwrap_or_default());
            assert_eq!(
                hex(&dr.user_data),
                ours.user_data.clone().unwrap_or_default()
            );
        }
        EndReason::Rejected(cause) => assert_eq!(Some(cause.0), ours.cause, "{}", ours.why),
        _ => (),
    }
}

/// Returns the word of `vectors/README.md` for an end.
fn name_of(end: &ConnectionEnd, was_open: bool) -> &'static str {
    match &end.reason {
        _ if end.incomplete > 0 && end.reason != EndReason::Link(Cause::Reset) => {
            match end.reason {
                EndReason::NoConfirm(_) | EndReason::NoRequest(_) => "timed_out",
                _ => "truncated",
            }
        }
        EndReason::PeerClosed => "peer_closed",
        EndReason::Link(Cause::Reset) if was_open => "reset",
        EndReason::ClosedBeforeConfirm | EndReason::ClosedBeforeRequest | EndReason::Link(_) => {
            "unanswered"
        }
        EndReason::Framing(_) => "framing",
        EndReason::Disconnected(_) | EndReason::Rejected(_) if was_open => "disconnected",
        EndReason::Refused(_)
        | EndReason::Disconnected(_)
        | EndReason::Rejected(_)
        | EndReason::ProtocolError(ProtocolError::Class(_))
        | EndReason::Declined(_) => "refused",
        EndReason::NoConfirm(_) | EndReason::NoRequest(_) => "timed_out",
        EndReason::Malformed(_) | EndReason::Unexpected { .. } | EndReason::ProtocolError(_) => {
            "protocol_error"
        }
        _ => "something else",
    }
}

fn responder() -> Config {
    Config {
        tpdu_size: TpduSize::LARGEST,
        ..Config::responder(Policy::AcceptAny)
    }
}

fn whole(octets: &[u8]) -> Vec<Vec<u8>> {
    vec![octets.to_vec()]
}

fn singly(octets: &[u8]) -> Vec<Vec<u8>> {
    octets.chunks(1).map(<[u8]>::to_vec).collect()
}

/// Splits a stream of whole packets.
fn tpdus_of(octets: &[u8]) -> Vec<Vec<u8>> {
    let mut framing = Tpkt::default();
    let mut rest = octets;
    let mut tpdus = Vec::new();
    while let Some(tpdu) = framing.next(&mut rest).unwrap() {
        tpdus.push(tpdu.to_vec());
    }
    assert!(framing.is_between(), "half a packet");
    tpdus
}

/// Returns the offset of the fault of a packet.
fn fault_of(octets: &[u8]) -> Option<usize> {
    use farlink::cotp::TpktFault;

    let mut framing = Tpkt::default();
    let mut rest = octets;
    let Ok(Some(tpdu)) = framing.next(&mut rest) else {
        return Some(match framing.fault()? {
            TpktFault::Version(_) => 0,
            TpktFault::Reserved(_) => 1,
            _ => 2,
        });
    };
    let error = match Tpdu::decode(tpdu) {
        Err(error) => error,
        Ok(Tpdu::ConnectionRequest(cr)) if cr.class() > 4 => return Some(HEADER + 6),
        Ok(Tpdu::ConnectionRequest(tpdu) | Tpdu::ConnectionConfirm(tpdu)) => {
            let parameters = tpdu.parameters();
            parameters.map_or_else(Some, |list| list.fault)?
        }
        Ok(Tpdu::Data(data)) if data.wants_acknowledgement => return Some(HEADER + 1),
        Ok(_) => return None,
    };
    // A missing octet is reported at the last octet present.
    Some(HEADER + error.offset.min(tpdu.len() - 1))
}

fn packet(tpdu: &Tpdu<'_>) -> Vec<u8> {
    let length = u16::try_from(HEADER + tpdu.wire_len()).unwrap();
    let mut out = vec![3, 0];
    out.extend(length.to_be_bytes());
    tpdu.encode(&mut out);
    out
}

/// Builds the TPDU that a vector describes.
fn with_expected(tpdu: &cotp_captures::Tpdu, act: impl FnOnce(Tpdu<'_>)) {
    let of = |text: &Option<String>| text.as_deref().map(unhex).unwrap_or_default();
    let connect = |connect: &Connect, act: &mut dyn FnMut(farlink::cotp::Connect<'_>)| {
        act(farlink::cotp::Connect {
            credit: 0,
            destination: connect.dst_ref,
            source: connect.src_ref,
            class_option: connect.class << 4,
            variable: &connect.variable(),
            user_data: &of(&connect.user_data),
        });
    };
    let mut act = Some(act);
    let mut act = |tpdu: Tpdu<'_>| (act.take().unwrap())(tpdu);
    match tpdu {
        cotp_captures::Tpdu::Cr(cr) => connect(cr, &mut |cr| act(Tpdu::ConnectionRequest(cr))),
        cotp_captures::Tpdu::Cc(cc) => connect(cc, &mut |cc| act(Tpdu::ConnectionConfirm(cc))),
        cotp_captures::Tpdu::Dr {
            dst_ref,
            src_ref,
            reason,
            parameters,
            user_data,
        } => act(Tpdu::DisconnectRequest(DisconnectRequest {
            destination: *dst_ref,
            source: *src_ref,
            reason: DisconnectReason(*reason),
            variable: &fields(parameters),
            user_data: &of(user_data),
        })),
        cotp_captures::Tpdu::Er {
            dst_ref,
            cause,
            parameters,
        } => act(Tpdu::Error(ErrorReport {
            destination: *dst_ref,
            cause: RejectCause(*cause),
            variable: &fields(parameters),
        })),
        cotp_captures::Tpdu::Dt { eot, data } => act(Tpdu::Data(DataTpdu {
            is_last: *eot,
            number: 0,
            wants_acknowledgement: false,
            user_data: &data.to_vec(),
        })),
        cotp_captures::Tpdu::Ed { eot, data } => act(Tpdu::Expedited(Expedited {
            credit: 0,
            is_last: *eot,
            number: 0,
            user_data: &data.to_vec(),
        })),
    }
}

fn hex_of(selector: Option<&Selector>) -> Option<String> {
    selector.map(|selector| hex(selector.octets()))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}
