//! Octets in the texts that people paste: hex digits, C arrays, base64, and the dumps of `xxd`, `hexdump -C`, `od
//! -tx1`, `tcpdump -x` and Wireshark.

use core::fmt::Display;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The octets of each dump in a text, or `None` if the text is not a dump.
///
/// The lines of a dump begin with offsets that count its octets from 0.
pub(crate) fn dumps(text: &str) -> Option<Result<Vec<Vec<u8>>, String>> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let is_tcpdump = |line: &Line<'_>| line.style == Style::Tcpdump;
    let first = lines.next()?;
    let first = Line::parse(first).or_else(|| lines.find_map(Line::parse).filter(is_tcpdump))?;
    (first.offset == Some(0) && !first.rest.is_empty()).then(|| Reader::default().read(text))
}

/// Reads octets from hex digits, as a C array of `0x03, 0x00`, or as `\x03\x00`.
pub(crate) fn digits(text: &str) -> Result<Vec<u8>, String> {
    let is_separator =
        |character: char| character.is_whitespace() || ",;:-{}[]()\"'".contains(character);
    let text = text.replace("\\x", " 0x");
    // The numbers of an array lack their leading zeros; a number that stands alone lacks a digit.
    let is_array = text.matches("0x").count() > 1;
    let mut octets = Vec::new();
    let mut high = None;
    for token in text.split(is_separator).filter(|token| !token.is_empty()) {
        let number = token.strip_prefix("0x").filter(|digits| !digits.is_empty());
        let digits = number.unwrap_or(token);
        if is_array && number.is_some() && digits.len() == 1 && high.is_none() {
            high = Some(0);
        }
        for character in digits.chars() {
            let digit = character
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
                .ok_or_else(|| format!("{character:?} in `{}` is not a hex digit", clip(token)))?;
            match high.take() {
                None => high = Some(digit),
                Some(high) => octets.push(high << 4 | digit),
            }
        }
    }
    match high {
        Some(_) => Err("an odd number of hex digits".into()),
        None => Ok(octets),
    }
}

/// Reads base64 of either alphabet, with or without padding. `None` if the text is none, or no PDU: words are
/// base64 by chance.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: String = text.split_whitespace().collect();
    let decode = |alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(&text);
    let octets = decode(&alphabet::STANDARD).or_else(|_| decode(&alphabet::URL_SAFE));
    octets
        .ok()
        .filter(|octets| octets.first().is_some_and(|&first| first <= 0x0F))
}

fn clip(token: &str) -> String {
    const SHOWN: usize = 20;
    match token.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}..", token.get(..end).unwrap_or(token)),
        None => token.into(),
    }
}

/// How a dump separates its offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `00000010: 0a0b`, as `xxd`; the text column follows two blanks.
    Colon,
    /// `0x0010:  0a0b`, as `tcpdump`, whose dumps stand between other lines.
    Tcpdump,
    /// `00000010  0a 0b`, as `hexdump -C`, `od` and Wireshark.
    Blank,
}

/// A line of a dump.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    style: Style,
    /// `None` if the digits are no hex number.
    offset: Option<usize>,
    /// Offsets of 7 digits are octal, as `od` writes them by default.
    is_octal: bool,
    rest: &'a str,
}

impl<'a> Line<'a> {
    /// Splits the offset off; `None` if the line does not begin with one.
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let (offset, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (style, digits) = match (offset.strip_suffix(':'), offset.strip_prefix("0x")) {
            (Some(_), Some(prefixed)) => (Style::Tcpdump, prefixed.strip_suffix(':')?),
            (Some(digits), None) => (Style::Colon, digits),
            (None, _) => (Style::Blank, offset),
        };
        let is_offset = digits.len() >= 4 && digits.bytes().all(|octet| octet.is_ascii_hexdigit());
        let is_octal = style == Style::Blank && digits.len() == 7;
        // Hex digits in groups of four look like offsets without a colon, unless octets stand alone.
        let first = rest.split_whitespace().next();
        let is_alone = first.is_none_or(|token| token.len() <= 3);
        if !is_offset || (style == Style::Blank && !is_octal && !is_alone) {
            return None;
        }
        let radix = if is_octal { 8 } else { 16 };
        Some(Self {
            style,
            offset: usize::from_str_radix(digits, radix).ok(),
            is_octal,
            rest,
        })
    }

    /// Returns the octets of a line, without its text column.
    fn octets(&self) -> Result<Vec<u8>, String> {
        let mut rest = self.rest.trim_start();
        let mut octets = Vec::new();
        while !rest.is_empty() && !rest.starts_with(['|', '>']) {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (token, behind) = rest.split_at(end);
            if self.style == Style::Blank && token.len() != 2 {
                return Err(format!(
                    "`{}` is not an octet of two hex digits; hexdump -C and od -tx1 write such octets",
                    clip(token)
                ));
            }
            octets.extend(digits(token)?);
            let next = behind.trim_start();
            let blanks = behind.len() - next.len();
            if blanks > self.widest_gap() {
                break;
            }
            rest = next;
        }
        Ok(octets)
    }

    /// Blanks between octets at most; more stand before the text column.
    const fn widest_gap(&self) -> usize {
        match self.style {
            Style::Colon | Style::Tcpdump => 1,
            // Two stand in the middle of a line of `hexdump -C`, three before the text column of Wireshark.
            Style::Blank => 2,
        }
    }
}

#[derive(Debug, Default)]
struct Reader {
    dumps: Vec<Vec<u8>>,
    /// The octets of the last line, which `*` repeats up to the next offset.
    last: Vec<u8>,
    is_repeated: bool,
}

impl Reader {
    fn read(mut self, text: &str) -> Result<Vec<Vec<u8>>, String> {
        let mut style = None;
        for (line, number) in text.lines().zip(1_usize..) {
            if line.trim().is_empty() {
                continue;
            }
            if line.trim() == "*" {
                self.is_repeated = true;
                continue;
            }
            let at = |message: &dyn Display| format!("line {number}: {message}");
            match Line::parse(line) {
                Some(line) if style.is_none_or(|style| style == line.style) => {
                    style = Some(line.style);
                    self.add(&line).map_err(|message| at(&message))?;
                }
                // Its headers name the packets.
                _ if matches!(style, None | Some(Style::Tcpdump)) => {}
                _ => return Err(at(&"the offset is missing")),
            }
        }
        Ok(self.dumps)
    }

    fn add(&mut self, line: &Line<'_>) -> Result<(), String> {
        let offset = line.offset.ok_or("the offset is not a number")?;
        let octets = line.octets()?;
        if offset == 0 && !octets.is_empty() {
            self.dumps.push(Vec::new());
            self.is_repeated = false;
        }
        let Some(dump) = self.dumps.last_mut() else {
            return Ok(());
        };
        while self.is_repeated && dump.len() < offset && !self.last.is_empty() {
            dump.extend_from_slice(&self.last);
        }
        self.is_repeated = false;
        if dump.len() != offset {
            let count = dump.len();
            return Err(if line.is_octal {
                format!("offset {offset:o} (octal) behind {count:o} octets")
            } else {
                format!("offset 0x{offset:x} behind 0x{count:x} octets")
            });
        }
        dump.extend_from_slice(&octets);
        self.last = octets;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CR, and the first octets of a DT.
    const OCTETS: [u8; 20] = [
        3, 0, 0, 0x0E, 9, 0xE0, 0, 0, 0x12, 0x34, 0, 0xC0, 1, 0x0A, 3, 0, 0, 8, 2, 0xF0,
    ];

    #[test]
    fn hex_digits_are_read_with_blanks_colons_and_dashes() {
        for text in [
            "03000007",
            "0x03000007",
            "03:00-00 07\n",
            "0300 0007",
            "0x03,0x00, 0x0,0x7",
            "{ 0x03, 0x00, 0x00, 0x07 };",
            "\\x03\\x00\\x00\\x07",
            "\"\\x03\\x00\" \"\\x00\\x07\"",
            "03, 00, 00, 07",
        ] {
            assert!(dumps(text).is_none(), "{text}");
            assert_eq!(digits(text), Ok(vec![3, 0, 0, 7]), "{text}");
        }
        assert_eq!(digits(""), Ok(vec![]));
    }

    #[test]
    fn a_text_that_is_not_hex_is_quoted() {
        assert_eq!(
            digits("03xy").unwrap_err(),
            "'x' in `03xy` is not a hex digit"
        );
        assert_eq!(
            digits("03 0x").unwrap_err(),
            "'x' in `0x` is not a hex digit"
        );
        for text in ["030", "0x1", "0x03 0x1 2"] {
            assert_eq!(digits(text).unwrap_err(), "an odd number of hex digits");
        }
    }

    #[test]
    fn the_dumps_of_common_tools_are_read() {
        for (tool, text) in [
            (
                "xxd",
                "00000000: 0300 000e 09e0 0000 1234 00c0 010a 0300  .........4......\n\
                 00000010: 0008 02f0                                ab..\n",
            ),
            (
                "xxd -g1",
                "00000000: 03 00 00 0e 09 e0 00 00 12 34 00 c0 01 0a 03 00  .........4......\n\
                 00000010: 00 08 02 f0                                      ....\n",
            ),
            (
                "hexdump -C",
                "00000000  03 00 00 0e 09 e0 00 00  12 34 00 c0 01 0a 03 00  |.........4......|\n\
                 00000010  00 08 02 f0                                       |....|\n00000014\n",
            ),
            (
                "od -tx1",
                "0000000 03 00 00 0e 09 e0 00 00 12 34 00 c0 01 0a 03 00\n0000020 00 08 02 f0\n0000024\n",
            ),
            (
                "od -Ax -tx1z",
                "000000 03 00 00 0e 09 e0 00 00 12 34 00 c0 01 0a 03 00  >.........4......<\n\
                 000010 00 08 02 f0                                      >....<\n000014\n",
            ),
            (
                "Wireshark",
                "0000   03 00 00 0e 09 e0 00 00 12 34 00 c0 01 0a 03 00   .........4......\n\
                 0010   00 08 02 f0                                       ab..\n",
            ),
            (
                "tcpdump -X",
                "12:00:00.5 IP 192.0.2.1.1024 > 192.0.2.2.102: Flags [P.], length 20\n\
                 \t0x0000:  0300 000e 09e0 0000 1234 00c0 010a 0300  .........4......\n\
                 \t0x0010:  0008 02f0                                ab..\n",
            ),
        ] {
            let read = dumps(text).unwrap_or_else(|| panic!("{tool} is a dump"));
            assert_eq!(read, Ok(vec![OCTETS.to_vec()]), "{tool}");
        }
    }

    #[test]
    fn an_offset_of_0_begins_another_dump() {
        let text = "00000000: 0300\n00000002: 0007\n00000000: 04\n";

        assert_eq!(dumps(text), Some(Ok(vec![vec![3, 0, 0, 7], vec![4]])));
    }

    #[test]
    fn an_offset_without_octets_is_no_dump() {
        assert!(dumps("00000000").is_none(), "a keep-alive of LTP");
        assert!(dumps("00000000\n0400\n").is_none());
    }

    #[test]
    fn an_asterisk_repeats_the_line_before_it() {
        let text = "00000000  07 07 07 07\n*\n0000000c  01\n";

        let octets = [&[7; 12][..], &[1]].concat();
        assert_eq!(dumps(text), Some(Ok(vec![octets])));
    }

    #[test]
    fn a_dump_with_a_line_missing_is_refused() {
        let missing = "00000000: 0300\n00000010: 0007\n";
        let words = "0000000 0003 0700\n";

        assert_eq!(
            dumps(missing),
            Some(Err("line 2: offset 0x10 behind 0x2 octets".into()))
        );
        for text in [words, "0000000 003 000\n"] {
            let error = dumps(text).unwrap().unwrap_err();
            assert!(
                error.contains("is not an octet of two hex digits"),
                "{error}"
            );
        }
    }
}
