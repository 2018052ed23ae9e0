//! Short labels for the TPDUs of a stream, for ladder diagrams.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::api::{ConnectionEnd, EndReason, Event};
use super::tpkt::Tpkt;
use super::wire::{Connect, DataTpdu, Tpdu};
use crate::Framing as _;

/// TPDUs and messages that one label lists. Further ones are counted.
const MAX_ITEMS: usize = 4;

/// Labels the chunks of one direction of a stream by their TPDUs.
///
/// A label lists the TPDUs that end in a chunk; `..` stands for one that only begins in it. The sizes of
/// DTs are octets of user data, joined up to the `end` of their message.
///
/// ```
/// use farlink::cotp::TpduLabels;
///
/// let mut labels = TpduLabels::default();
/// let run = [3, 0, 0, 8, 2, 0xf0, 0, b'a', 3, 0, 0, 9, 2, 0xf0, 0x80, b'b', b'c', 3];
/// assert_eq!(labels.name(&run).as_deref(), Some("DT 1+2 end .."));
/// ```
#[derive(Debug, Clone, Default)]
pub struct TpduLabels {
    framing: Tpkt,
}

impl TpduLabels {
    /// Returns the label of the next chunk, or `None` if it is empty.
    pub fn name(&mut self, chunk: &[u8]) -> Option<String> {
        let mut line = LabelText::default();
        let mut rest = chunk;
        while !rest.is_empty() {
            match self.framing.next(&mut rest) {
                Ok(Some(tpdu)) => line.add(tpdu),
                Ok(None) => break,
                Err(_) => {
                    line.push_item(format!("{} octets that are not a TPKT", rest.len()));
                    return line.finish();
                }
            }
        }
        line.end_chunk();
        if !self.framing.is_between() {
            line.items.push((String::from(".."), 1));
        }
        line.finish()
    }
}

/// Returns a short label for an event, for ladder diagrams and logs.
#[must_use]
pub fn event_label(event: &Event) -> String {
    match event {
        Event::Indication(indication) => match &indication.called {
            Some(called) => format!("called as {called}"),
            None => "called".into(),
        },
        Event::Connected(agreed) => format!("connected, TPDU size {}", agreed.tpdu_size),
        Event::Received(message) => format!("received {} octets", message.len()),
        Event::Expedited(message) => format!("expedited {} octets", message.len()),
        Event::Room => "room".into(),
        Event::Flushed(_) => "flushed".into(),
        Event::Failed(end) | Event::Closed(end) => end_label(end),
        other @ Event::NonTpkt(_) => format!("{other:?}"),
    }
}

fn end_label(end: &ConnectionEnd) -> String {
    let reason = match &end.reason {
        EndReason::NoConfirm(after) => format!("no answer within {after:?}"),
        EndReason::Refused(request) => format!("refused: {}", request.reason),
        EndReason::Declined(reason) => format!("declined: {reason}"),
        other => other.to_string(),
    };
    match end.incomplete {
        0 => reason,
        octets => format!("{reason}, {octets} octets dropped"),
    }
}

/// The label of one chunk while it is built.
#[derive(Debug, Default)]
struct LabelText {
    /// TPDUs and messages, each with the number of its repetitions in a row.
    items: Vec<(String, usize)>,
    /// The sizes of the DTs of the current message, each with the number of its repetitions in a row.
    sizes: Vec<(usize, usize)>,
}

impl LabelText {
    fn add(&mut self, tpdu: &[u8]) {
        let tpdu = Tpdu::decode(tpdu);
        if let Ok(Tpdu::Data(data)) = &tpdu {
            return self.data(data);
        }
        self.end_chunk();
        self.push_item(match tpdu {
            Ok(Tpdu::ConnectionRequest(connect)) => connection("CR", &connect),
            Ok(Tpdu::ConnectionConfirm(connect)) => connection("CC", &connect),
            Ok(Tpdu::DisconnectRequest(request)) => format!("DR {}", request.reason),
            Ok(Tpdu::Expedited(data)) => format!("ED {}", data.user_data.len()),
            Ok(Tpdu::Error(error)) => format!("ER {}", error.cause),
            Ok(other) => other.name().to_string(),
            Err(_) => String::from("malformed TPDU"),
        });
    }

    fn data(&mut self, data: &DataTpdu<'_>) {
        push_run(&mut self.sizes, data.user_data.len());
        if data.is_last {
            let text = format!("{} end", self.joined());
            self.sizes.clear();
            self.push_item(text);
        }
    }

    /// Adds the DTs of a message that continues in another chunk.
    fn end_chunk(&mut self) {
        if !self.sizes.is_empty() {
            let text = format!("{} more", self.joined());
            self.sizes.clear();
            self.push_item(text);
        }
    }

    fn joined(&self) -> String {
        let mut text = String::from("DT ");
        for (index, (size, count)) in self.sizes.iter().enumerate() {
            let plus = if index > 0 { "+" } else { "" };
            // Writing to a string cannot fail.
            let _ = match count {
                1 => write!(text, "{plus}{size}"),
                2 => write!(text, "{plus}{size}+{size}"),
                _ => write!(text, "{plus}{count}x{size}"),
            };
        }
        text
    }

    fn push_item(&mut self, text: String) {
        push_run(&mut self.items, text);
    }

    fn finish(self) -> Option<String> {
        let mut text = String::new();
        for (index, (item, count)) in self.items.iter().take(MAX_ITEMS).enumerate() {
            if index > 0 {
                text.push_str(if item == ".." { " " } else { ", " });
            }
            text.push_str(item);
            if *count > 1 {
                let _ = write!(text, " ({count} times)");
            }
        }
        let rest: usize = self
            .items
            .iter()
            .skip(MAX_ITEMS)
            .map(|(_, count)| count)
            .sum();
        if rest > 0 {
            let _ = write!(text, ", {rest} more");
        }
        (!text.is_empty()).then_some(text)
    }
}

fn push_run<T: PartialEq>(row: &mut Vec<(T, usize)>, item: T) {
    match row.last_mut() {
        Some((before, count)) if *before == item => *count += 1,
        _ => row.push((item, 1)),
    }
}

/// Returns the selectors of a CR or CC. The sizes are in the events of both ends.
fn connection(name: &str, connect: &Connect<'_>) -> String {
    let mut text = String::from(name);
    if let Ok(list) = connect.parameters() {
        for (role, selector) in [("calling", list.calling), ("called", list.called)] {
            if let Some(selector) = selector {
                let _ = write!(text, " {role} ");
                for octet in selector {
                    let _ = write!(text, "{octet:02x}");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const CR: [u8; 22] = [
        3, 0, 0, 22, 17, 0xE0, 0, 0, 0x12, 0x34, 0, 0xC1, 2, 1, 0, 0xC2, 2, 1, 2, 0xC0, 1, 10,
    ];

    fn dt(len: usize, is_last: bool) -> Vec<u8> {
        let [high, low] = u16::try_from(len + 7).unwrap().to_be_bytes();
        let mut packet = vec![3, 0, high, low, 2, 0xF0, if is_last { 0x80 } else { 0 }];
        packet.resize(len + 7, 0);
        packet
    }

    fn name(packets: &[Vec<u8>]) -> String {
        TpduLabels::default().name(&packets.concat()).unwrap()
    }

    #[test]
    fn the_label_of_a_request_has_its_selectors() {
        assert_eq!(name(&[CR.to_vec()]), "CR calling 0100 called 0102");
    }

    #[test]
    fn segments_are_joined_up_to_the_end_of_their_message() {
        let message = [dt(2045, false), dt(2045, false), dt(910, true)];

        assert_eq!(name(&message), "DT 2045+2045+910 end");
        assert_eq!(name(&message[..2]), "DT 2045+2045 more");
        assert_eq!(
            name(&[dt(5, false), dt(5, false), dt(5, false), dt(1, true)]),
            "DT 3x5+1 end"
        );
    }

    #[test]
    fn equal_messages_of_one_chunk_are_counted() {
        let many: Vec<Vec<u8>> = (0..40).map(|_| dt(12, true)).collect();
        let odd: Vec<Vec<u8>> = (1..8).map(|len| dt(len, true)).collect();

        assert_eq!(name(&many), "DT 12 end (40 times)");
        assert_eq!(name(&odd), "DT 1 end, DT 2 end, DT 3 end, DT 4 end, 3 more");
    }

    #[test]
    fn a_packet_belongs_to_the_chunk_in_which_it_ends() {
        let packets = [dt(10, true), dt(20, true)].concat();
        let mut labels = TpduLabels::default();

        assert_eq!(labels.name(&packets[..20]).unwrap(), "DT 10 end ..");
        assert_eq!(labels.name(&packets[20..25]).unwrap(), "..");
        assert_eq!(labels.name(&packets[25..]).unwrap(), "DT 20 end");
    }

    #[test]
    fn octets_that_are_not_a_packet_are_counted() {
        let mut octets = CR.to_vec();
        octets.extend_from_slice(b"GET /");
        let mut labels = TpduLabels::default();

        let named = labels.name(&octets).unwrap();

        assert!(named.starts_with("CR calling"), "{named}");
        assert!(named.ends_with("octets that are not a TPKT"), "{named}");
        assert!(labels.name(b"more").unwrap().ends_with("not a TPKT"));
        assert_eq!(labels.name(b""), None);
    }
}
