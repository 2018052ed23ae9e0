//! What ladders call the runs of a stream: the TPDUs in them, in few words.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::tpkt::Tpkt;
use super::wire::{Connect, DataTpdu, Tpdu};
use crate::Framing as _;

/// Things that one label names before it only counts.
const MOST: usize = 4;

/// Names the runs of one direction of a stream by their TPDUs, for the ladders of a simulation.
///
/// A run is named by what ends in it; what only begins in it is shown as `..`. The sizes of DTs are octets
/// of user data, joined up to the `end` of their message.
///
/// ```
/// use farlink::cotp::Labels;
///
/// let mut labels = Labels::default();
/// let run = [3, 0, 0, 8, 2, 0xf0, 0, b'a', 3, 0, 0, 9, 2, 0xf0, 0x80, b'b', b'c', 3];
/// assert_eq!(labels.name(&run).as_deref(), Some("DT 1+2 end .."));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Labels {
    framing: Tpkt,
}

impl Labels {
    /// Names the next run; `None` when there is nothing in it.
    pub fn name(&mut self, run: &[u8]) -> Option<String> {
        let mut line = Line::default();
        let mut rest = run;
        while !rest.is_empty() {
            match self.framing.next(&mut rest) {
                Ok(Some(tpdu)) => line.add(tpdu),
                Ok(None) => break,
                Err(_) => {
                    line.thing(format!("{} octets that are no TPKT", rest.len()));
                    return line.finish();
                }
            }
        }
        line.message();
        if !self.framing.is_between() {
            line.things.push((String::from(".."), 1));
        }
        line.finish()
    }
}

/// What one run is called, as it grows.
#[derive(Debug, Default)]
struct Line {
    /// Each with how often it stands there in a row.
    things: Vec<(String, usize)>,
    /// The sizes of the DTs of the message under way, each with how often it comes in a row.
    sizes: Vec<(usize, usize)>,
}

impl Line {
    fn add(&mut self, tpdu: &[u8]) {
        let tpdu = Tpdu::decode(tpdu);
        if let Ok(Tpdu::Data(data)) = &tpdu {
            return self.data(data);
        }
        self.message();
        self.thing(match tpdu {
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
        again_or_new(&mut self.sizes, data.user_data.len());
        if data.is_last {
            let text = format!("{} end", self.joined());
            self.sizes.clear();
            self.thing(text);
        }
    }

    /// Names the DTs of a message that goes on in another run.
    fn message(&mut self) {
        if !self.sizes.is_empty() {
            let text = format!("{} more", self.joined());
            self.sizes.clear();
            self.thing(text);
        }
    }

    fn joined(&self) -> String {
        let mut text = String::from("DT ");
        for (place, (size, count)) in self.sizes.iter().enumerate() {
            let plus = if place > 0 { "+" } else { "" };
            // Writing to a string cannot fail.
            let _ = match count {
                1 => write!(text, "{plus}{size}"),
                2 => write!(text, "{plus}{size}+{size}"),
                _ => write!(text, "{plus}{count}x{size}"),
            };
        }
        text
    }

    fn thing(&mut self, text: String) {
        again_or_new(&mut self.things, text);
    }

    fn finish(self) -> Option<String> {
        let mut text = String::new();
        for (place, (thing, count)) in self.things.iter().take(MOST).enumerate() {
            if place > 0 {
                text.push_str(if thing == ".." { " " } else { ", " });
            }
            text.push_str(thing);
            if *count > 1 {
                let _ = write!(text, " ({count} times)");
            }
        }
        let rest: usize = self.things.iter().skip(MOST).map(|(_, count)| count).sum();
        if rest > 0 {
            let _ = write!(text, ", {rest} more");
        }
        (!text.is_empty()).then_some(text)
    }
}

fn again_or_new<T: PartialEq>(row: &mut Vec<(T, usize)>, thing: T) {
    match row.last_mut() {
        Some((before, count)) if *before == thing => *count += 1,
        _ => row.push((thing, 1)),
    }
}

/// Whom it names; the sizes stand in the events of both ends.
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
        Labels::default().name(&packets.concat()).unwrap()
    }

    #[test]
    fn a_request_is_named_with_its_selectors() {
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
    fn messages_of_one_run_are_counted() {
        let many: Vec<Vec<u8>> = (0..40).map(|_| dt(12, true)).collect();
        let odd: Vec<Vec<u8>> = (1..8).map(|len| dt(len, true)).collect();

        assert_eq!(name(&many), "DT 12 end (40 times)");
        assert_eq!(name(&odd), "DT 1 end, DT 2 end, DT 3 end, DT 4 end, 3 more");
    }

    #[test]
    fn a_packet_that_is_cut_belongs_to_the_run_in_which_it_ends() {
        let packets = [dt(10, true), dt(20, true)].concat();
        let mut labels = Labels::default();

        assert_eq!(labels.name(&packets[..20]).unwrap(), "DT 10 end ..");
        assert_eq!(labels.name(&packets[20..25]).unwrap(), "..");
        assert_eq!(labels.name(&packets[25..]).unwrap(), "DT 20 end");
    }

    #[test]
    fn what_is_no_packet_is_counted_in_octets() {
        let mut octets = CR.to_vec();
        octets.extend_from_slice(b"GET /");
        let mut labels = Labels::default();

        let named = labels.name(&octets).unwrap();

        assert!(named.starts_with("CR calling"), "{named}");
        assert!(named.ends_with("octets that are no TPKT"), "{named}");
        assert!(labels.name(b"more").unwrap().ends_with("no TPKT"));
        assert_eq!(labels.name(b""), None);
    }
}
