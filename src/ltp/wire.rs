//! Encoding and decoding of segments (RFC 5326 section 3).

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::sdnv::{Head, put_sdnv, sdnv, sdnv_len};
use crate::wire::{Cursor, DecodeError, Fault};

/// The maximum number of extensions in a header, and in a trailer (RFC 5326 section 3.1.4).
pub const MAX_EXTENSIONS: u8 = 15;

/// A session ID: the session originator and the session number (RFC 5326 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
#[display("{originator}:{number}")]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SessionId {
    /// The engine ID of the sender of the block, in segments of both directions.
    pub originator: u64,
    /// The session number.
    pub number: u64,
}

/// A segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The session ID.
    pub session: SessionId,
    /// The header extensions.
    pub header: Extensions<'a>,
    /// The segment content.
    pub body: Body<'a>,
    /// The trailer extensions.
    pub trailer: Extensions<'a>,
}

/// The segment content, by segment type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// A data segment, types 0 to 4 and 7.
    Data(Data<'a>),
    /// RS, a report segment, type 8.
    Report(Report<'a>),
    /// RA, a report-acknowledgment segment with the report serial number, type 9.
    ReportAck(u64),
    /// CS, a cancel segment of the block sender, type 12.
    CancelBySender(Reason),
    /// CAS, a cancel-acknowledgment segment to the block sender, type 13.
    CancelAckToSender,
    /// CR, a cancel segment of the block receiver, type 14.
    CancelByReceiver(Reason),
    /// CAR, a cancel-acknowledgment segment to the block receiver, type 15.
    CancelAckToReceiver,
}

/// The content of a data segment (RFC 5326 section 3.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// The destination client service ID.
    pub client: u64,
    /// The offset of the octets in the block.
    pub offset: u64,
    /// The color, and what ends with the segment.
    pub color: Color,
    /// The octets of the block.
    pub octets: &'a [u8],
}

/// The color of a data segment, and what ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Red: delivered reliably.
    Red(Option<Checkpoint>),
    /// Green: delivered without repetition.
    Green {
        /// EOB: the block ends here (type 7).
        ends_block: bool,
    },
}

/// The checkpoint fields of a red segment, which ask for a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The checkpoint serial number, never 0.
    pub serial: u64,
    /// The serial number of the report that the checkpoint answers, or 0.
    pub report: u64,
    /// What ends with this segment.
    pub mark: Mark,
}

/// What ends with a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Nothing (type 1).
    None = 1,
    /// EORP: the red part (type 2).
    RedPart = 2,
    /// EORP and EOB: the red part and the block (type 3).
    Block = 3,
}

/// The content of a report segment (RFC 5326 section 3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    /// The report serial number, never 0.
    pub serial: u64,
    /// The serial number of the checkpoint that the report answers; 0 for an asynchronous report.
    pub checkpoint: u64,
    /// The scope: lower and upper bound, in octets of the block.
    pub scope: Range64,
    /// The reception claims: what was received of the scope.
    pub claims: Claims<'a>,
}

/// A range of octets of a block. Unlike [`Range`] it can be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range64 {
    /// The first octet.
    pub start: u64,
    /// The octet behind the last.
    pub end: u64,
}

impl From<Range64> for Range<u64> {
    fn from(range: Range64) -> Self {
        range.start..range.end
    }
}

impl From<Range<u64>> for Range64 {
    fn from(range: Range<u64>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

/// The reception claims of a report: ranges of octets of a block, ascending and never touching.
#[derive(Clone, Copy)]
pub struct Claims<'a> {
    from: Source<'a>,
    count: u64,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    /// Encoded, checked, and relative to the lower bound.
    Wire {
        octets: &'a [u8],
        lower: u64,
    },
    Ranges(&'a [Range<u64>]),
}

impl<'a> Claims<'a> {
    /// Makes claims of ranges of octets of the block, which ascend, do not touch and are within the scope.
    #[must_use]
    pub fn new(ranges: &'a [Range<u64>]) -> Self {
        Self {
            from: Source::Ranges(ranges),
            // Bound: usize has at most 64 bits.
            count: ranges.len() as u64,
        }
    }

    /// Returns the number of claims.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the claims as ranges of octets of the block.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + use<'a> {
        let (wire, ranges) = match self.from {
            Source::Wire { octets, lower } => (Some((Cursor::new(octets), lower)), [].as_slice()),
            Source::Ranges(ranges) => (None, ranges),
        };
        let from_wire = wire
            .into_iter()
            .flat_map(|(mut cursor, lower)| core::iter::from_fn(move || claim(&mut cursor, lower)));
        from_wire.chain(ranges.iter().cloned())
    }
}

impl PartialEq for Claims<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for Claims<'_> {}

impl fmt::Debug for Claims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A reason code: why a session is cancelled (RFC 5326 section 3.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Reason(pub u8);

impl Reason {
    /// The client service cancelled the session (`USR_CNCLD`).
    pub const USER: Self = Self(0);
    /// There is no such client service (`UNREACH`).
    pub const UNREACHABLE: Self = Self(1);
    /// The retransmission limit was exceeded (`RLEXC`).
    pub const RETRANSMISSION_LIMIT: Self = Self(2);
    /// A red segment behind green data, or beyond the red part (`MISCOLORED`).
    pub const MISCOLORED: Self = Self(3);
    /// A system error made the engine cancel (`SYS_CNCLD`).
    pub const SYSTEM: Self = Self(4);
    /// The limit of retransmission cycles was exceeded (`RXMTCYCEXC`).
    pub const CYCLE_LIMIT: Self = Self(5);
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::USER => f.write_str("cancelled by the client service"),
            Self::UNREACHABLE => f.write_str("no such client service"),
            Self::RETRANSMISSION_LIMIT => f.write_str("retransmission limit exceeded"),
            Self::MISCOLORED => f.write_str("miscolored segment"),
            Self::SYSTEM => f.write_str("the engine could not go on"),
            Self::CYCLE_LIMIT => f.write_str("retransmission cycle limit exceeded"),
            Self(code) => write!(f, "reason {code}"),
        }
    }
}

/// Header or trailer extensions in their encoded form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions<'a> {
    count: u8,
    octets: &'a [u8],
}

/// An extension (RFC 5326 section 3.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The extension tag.
    pub tag: ExtensionTag,
    /// The value.
    pub value: &'a [u8],
}

/// The tag of an extension (RFC 5327, registry in RFC 7116).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtensionTag(pub u8);

impl ExtensionTag {
    /// Authentication (RFC 5327 section 2.1).
    pub const AUTHENTICATION: Self = Self(0);
    /// Cookie (RFC 5327 section 2.2).
    pub const COOKIE: Self = Self(1);
}

impl<'a> Extensions<'a> {
    /// No extensions.
    pub const NONE: Self = Self {
        count: 0,
        octets: &[],
    };

    /// Reads at most 15 extensions that take up all of `octets`.
    ///
    /// # Errors
    ///
    /// The octets end within an extension, or there are more than 15.
    pub fn new(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(octets);
        let mut count = 0;
        while !cursor.rest().is_empty() {
            if count == MAX_EXTENSIONS {
                let fault = Fault::Trailing(cursor.rest().len());
                return Err(DecodeError::new("extension", cursor.offset(), fault));
            }
            extension(&mut cursor)?;
            count += 1;
        }
        Ok(Self { count, octets })
    }

    #[inline]
    fn decode(cursor: &mut Cursor<'a>, count: u8) -> Result<Self, DecodeError> {
        if count == 0 {
            return Ok(Self::NONE);
        }
        let before = *cursor;
        for _ in 0..count {
            extension(cursor)?;
        }
        let len = cursor.offset() - before.offset();
        let octets = before.rest().get(..len).unwrap_or_default();
        Ok(Self { count, octets })
    }

    /// Returns the number of extensions.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Returns the extensions in their encoded form.
    #[must_use]
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Returns the extensions.
    pub fn iter(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        self.ends().map(|(_, extension)| extension)
    }

    /// Returns the extensions, each with the offset of its end.
    pub(super) fn ends(&self) -> impl Iterator<Item = (usize, Extension<'a>)> + use<'a> {
        let mut cursor = Cursor::new(self.octets);
        core::iter::from_fn(move || {
            let one = extension(&mut cursor).ok()?;
            Some((cursor.offset(), one))
        })
    }

    /// Returns the value of the first extension with `tag`.
    #[must_use]
    pub fn find(&self, tag: ExtensionTag) -> Option<&'a [u8]> {
        self.iter().find(|one| one.tag == tag).map(|one| one.value)
    }
}

fn extension<'a>(cursor: &mut Cursor<'a>) -> Result<Extension<'a>, DecodeError> {
    let tag = ExtensionTag(cursor.u8("extension tag")?);
    let len = octet_count(cursor, "extension length")?;
    let value = cursor.take(len, "extension value")?;
    Ok(Extension { tag, value })
}

/// Reads a length. One that does not fit a `usize` does not fit the segment either.
fn octet_count(cursor: &mut Cursor<'_>, field: &'static str) -> Result<usize, DecodeError> {
    let start = cursor.offset();
    let len = sdnv(cursor, field)?;
    usize::try_from(len).map_err(|_| DecodeError::new(field, start, Fault::Overflow))
}

impl<'a> Segment<'a> {
    /// Makes a segment without extensions.
    #[must_use]
    pub const fn new(session: SessionId, body: Body<'a>) -> Self {
        Self {
            session,
            header: Extensions::NONE,
            body,
            trailer: Extensions::NONE,
        }
    }

    /// Decodes a segment that takes up all of `octets`.
    ///
    /// Over UDP and DCCP a datagram holds exactly one segment (RFC 7122 section 3.3; RFC 5326 section 5 is looser).
    ///
    /// # Errors
    ///
    /// The field that is malformed.
    #[inline]
    pub fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let (segment, used) = Self::decode_first(octets)?;
        match octets.len() - used {
            0 => Ok(segment),
            left => Err(DecodeError::new("segment", used, Fault::Trailing(left))),
        }
    }

    /// Whether the segment is valid in a datagram with these octets behind it.
    ///
    /// A datagram holds one segment (RFC 7122 section 3.3), so octets behind it make it malformed. Reports are excepted:
    /// ION pads the parts of split reports with old memory (captures 15 and 28), and without them no large block to ION
    /// would ever be repaired.
    #[inline]
    pub(super) const fn may_precede(&self, behind: &[u8]) -> bool {
        behind.is_empty() || matches!(self.body, Body::Report(_))
    }

    /// Decodes the first segment in a frame, and returns it with its length in octets.
    ///
    /// # Errors
    ///
    /// The field that is malformed.
    #[inline]
    pub fn decode_first(octets: &'a [u8]) -> Result<(Self, usize), DecodeError> {
        let mut cursor = Cursor::new(octets);
        let control = cursor.u8("version and type")?;
        if control >> 4 != 0 {
            let fault = Fault::Value(u32::from(control >> 4));
            return Err(DecodeError::new("version", 0, fault));
        }
        let session = SessionId {
            originator: sdnv(&mut cursor, "session originator")?,
            number: sdnv(&mut cursor, "session number")?,
        };
        let counts = cursor.u8("extension counts")?;
        let header = Extensions::decode(&mut cursor, counts >> 4)?;
        let body = Body::decode(&mut cursor, control)?;
        let trailer = Extensions::decode(&mut cursor, counts & 0xF)?;
        Ok((
            Self {
                session,
                header,
                body,
                trailer,
            },
            cursor.offset(),
        ))
    }

    /// Returns the length in octets that [`encode`](Self::encode) appends.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        header_len(self.session)
            + self.header.octets.len()
            + self.body.wire_len()
            + self.trailer.octets.len()
    }

    /// Appends the encoded segment.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let counts = self.header.count << 4 | self.trailer.count;
        let mut head = Head::new();
        put_header(&mut head, self.body.code(), self.session, counts);
        if counts == 0 {
            self.body.put_fields(&mut head);
            head.put(out);
            self.body.put_rest(out);
            return;
        }
        head.put(out);
        out.extend_from_slice(self.header.octets);
        self.body.encode(out);
        out.extend_from_slice(self.trailer.octets);
    }
}

/// Returns the octets of a header without extensions.
pub(super) const fn header_len(session: SessionId) -> usize {
    2 + sdnv_len(session.originator) + sdnv_len(session.number)
}

/// Encodes a header up to its extensions. `counts` has the numbers of extensions.
#[inline]
pub(super) fn put_header(head: &mut Head, code: u8, session: SessionId, counts: u8) {
    head.octet(code);
    head.sdnv(session.originator);
    head.sdnv(session.number);
    head.octet(counts);
}

impl<'a> Body<'a> {
    /// Returns the segment type (RFC 5326 section 3.1.2, by the table; the text of 3.1.1 swaps cancel segments and their
    /// acknowledgments).
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Data(data) => data.color.code(),
            Self::Report(_) => 8,
            Self::ReportAck(_) => 9,
            Self::CancelBySender(_) => 12,
            Self::CancelAckToSender => 13,
            Self::CancelByReceiver(_) => 14,
            Self::CancelAckToReceiver => 15,
        }
    }

    #[inline]
    fn decode(cursor: &mut Cursor<'a>, code: u8) -> Result<Self, DecodeError> {
        Ok(match code {
            0..=4 | 7 => Self::Data(Data::decode(cursor, code)?),
            8 => Self::Report(Report::decode(cursor)?),
            9 => Self::ReportAck(serial(cursor, "report serial number")?),
            12 => Self::CancelBySender(Reason(cursor.u8("reason code")?)),
            13 => Self::CancelAckToSender,
            14 => Self::CancelByReceiver(Reason(cursor.u8("reason code")?)),
            15 => Self::CancelAckToReceiver,
            _ => {
                let fault = Fault::Value(u32::from(code));
                return Err(DecodeError::new("segment type", 0, fault));
            }
        })
    }

    /// Returns the length of the content in octets.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        let mut head = Head::new();
        self.put_fields(&mut head);
        let behind = match (self, self.octets()) {
            (Self::Report(report), None) => {
                let claims = report.claims.iter();
                let lens = claims.map(|claim| claim_len(&claim, report.scope.start));
                lens.sum()
            }
            (_, octets) => octets.map_or(0, <[u8]>::len),
        };
        head.octets().len() + behind
    }

    /// Appends the fields, up to the data or several claims.
    #[inline]
    pub(super) fn put_fields(&self, head: &mut Head) {
        match self {
            Self::Data(data) => data.put_fields(head),
            Self::Report(report) => report.put_fields(head),
            Self::ReportAck(serial) => head.sdnv(*serial),
            Self::CancelBySender(reason) | Self::CancelByReceiver(reason) => head.octet(reason.0),
            Self::CancelAckToSender | Self::CancelAckToReceiver => {}
        }
    }

    /// Returns the octets behind the fields. `None` for several claims, which are encoded one by one.
    #[inline]
    pub(super) const fn octets(&self) -> Option<&'a [u8]> {
        match self {
            Self::Data(data) => Some(data.octets),
            Self::Report(report) if report.claims.count != 1 => None,
            _ => Some(&[]),
        }
    }

    /// Appends what is behind the fields: the data, or claims unless there is one.
    #[inline]
    pub(super) fn put_rest(&self, out: &mut Vec<u8>) {
        match self {
            Self::Data(data) => out.extend_from_slice(data.octets),
            Self::Report(report) if report.claims.count != 1 => {
                for claim in report.claims.iter() {
                    put_sdnv(out, claim.start.saturating_sub(report.scope.start));
                    put_sdnv(out, claim.end - claim.start);
                }
            }
            _ => {}
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut head = Head::new();
        self.put_fields(&mut head);
        head.put(out);
        self.put_rest(out);
    }
}

impl Color {
    const fn code(self) -> u8 {
        match self {
            Self::Red(None) => 0,
            Self::Red(Some(checkpoint)) => checkpoint.mark as u8,
            Self::Green { ends_block: false } => 4,
            Self::Green { ends_block: true } => 7,
        }
    }
}

/// Reads a serial number, which must not be 0 (RFC 5326 sections 3.2.1 to 3.2.3).
fn serial(cursor: &mut Cursor<'_>, field: &'static str) -> Result<u64, DecodeError> {
    let start = cursor.offset();
    match sdnv(cursor, field)? {
        0 => Err(DecodeError::new(field, start, Fault::Value(0))),
        serial => Ok(serial),
    }
}

impl<'a> Data<'a> {
    #[inline]
    fn decode(cursor: &mut Cursor<'a>, code: u8) -> Result<Self, DecodeError> {
        let client = sdnv(cursor, "client service ID")?;
        let start = cursor.offset();
        let offset = sdnv(cursor, "offset")?;
        let len = octet_count(cursor, "length")?;
        let color = match code {
            0 => Color::Red(None),
            4 | 7 => Color::Green {
                ends_block: code == 7,
            },
            _ => Color::Red(Some(Checkpoint {
                serial: serial(cursor, "checkpoint serial number")?,
                report: sdnv(cursor, "report serial number")?,
                mark: match code {
                    1 => Mark::None,
                    2 => Mark::RedPart,
                    _ => Mark::Block,
                },
            })),
        };
        let octets = cursor.take(len, "data")?;
        // Bound: usize has at most 64 bits.
        if offset.checked_add(len as u64).is_none() {
            return Err(DecodeError::new("offset", start, Fault::Overflow));
        }
        Ok(Self {
            client,
            offset,
            color,
            octets,
        })
    }

    /// Returns the range of the octets in the block.
    #[must_use]
    pub const fn range(&self) -> Range<u64> {
        // Bound: usize has at most 64 bits; the sum was checked when it was decoded.
        self.offset..self.offset.saturating_add(self.octets.len() as u64)
    }

    #[inline]
    fn put_fields(&self, head: &mut Head) {
        head.sdnv(self.client);
        head.sdnv(self.offset);
        head.sdnv(self.octets.len() as u64);
        if let Color::Red(Some(checkpoint)) = self.color {
            head.sdnv(checkpoint.serial);
            head.sdnv(checkpoint.report);
        }
    }
}

/// Returns the octets of the fields before the data.
pub(super) const fn data_header_len(client: u64, offset: u64, len: usize, color: Color) -> usize {
    let serials = match color {
        Color::Red(Some(checkpoint)) => sdnv_len(checkpoint.serial) + sdnv_len(checkpoint.report),
        Color::Red(None) | Color::Green { .. } => 0,
    };
    sdnv_len(client) + sdnv_len(offset) + sdnv_len(len as u64) + serials
}

impl<'a> Report<'a> {
    fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let serial = serial(cursor, "report serial number")?;
        let checkpoint = sdnv(cursor, "checkpoint serial number")?;
        let start = cursor.offset();
        let upper = sdnv(cursor, "upper bound")?;
        let lower = sdnv(cursor, "lower bound")?;
        // A report must not have an empty scope (RFC 5326 section 6.11).
        if lower >= upper {
            return Err(DecodeError::new("upper bound", start, Fault::Bounds));
        }
        let count = sdnv(cursor, "claim count")?;
        let claims = claims(cursor, count, lower, upper)?;
        Ok(Self {
            serial,
            checkpoint,
            scope: Range64 {
                start: lower,
                end: upper,
            },
            claims,
        })
    }

    /// Whether the report claims all of a red part of `red` octets.
    pub(super) fn claims_all(&self, red: u64) -> bool {
        self.scope.start == 0 && self.scope.end == red && self.only_claim() == Some(0..red)
    }

    /// Returns the claim if it is the only one.
    #[inline]
    fn only_claim(&self) -> Option<Range<u64>> {
        match self.claims.from {
            _ if self.claims.count != 1 => None,
            Source::Wire { octets, lower } => claim(&mut Cursor::new(octets), lower),
            Source::Ranges(ranges) => ranges.first().cloned(),
        }
    }

    #[inline]
    fn put_fields(&self, head: &mut Head) {
        head.sdnv(self.serial);
        head.sdnv(self.checkpoint);
        head.sdnv(self.scope.end);
        head.sdnv(self.scope.start);
        head.sdnv(self.claims.count);
        if let Some(claim) = self.only_claim() {
            head.sdnv(claim.start.saturating_sub(self.scope.start));
            head.sdnv(claim.end - claim.start);
        }
    }
}

/// Returns the octets of a report before the claim count.
pub(super) const fn report_head_len(serial: u64, checkpoint: u64, scope: Range64) -> usize {
    sdnv_len(serial) + sdnv_len(checkpoint) + sdnv_len(scope.end) + sdnv_len(scope.start)
}

/// Returns the octets of one claim.
pub(super) const fn claim_len(claim: &Range<u64>, lower: u64) -> usize {
    sdnv_len(claim.start.saturating_sub(lower)) + sdnv_len(claim.end - claim.start)
}

/// Reads one claim that was checked.
#[inline]
fn claim(cursor: &mut Cursor<'_>, lower: u64) -> Option<Range<u64>> {
    let start = lower + sdnv(cursor, "claim offset").ok()?;
    let len = sdnv(cursor, "claim length").ok()?;
    Some(start..start + len)
}

/// Reads the claims, and checks every rule of RFC 5326 section 3.2.2, so that reading them later cannot fail.
///
/// A report without claims is not valid, but is accepted with the meaning that nothing was received.
fn claims<'a>(
    cursor: &mut Cursor<'a>,
    count: u64,
    lower: u64,
    upper: u64,
) -> Result<Claims<'a>, DecodeError> {
    let before = *cursor;
    let scope = upper - lower;
    let mut behind = None;
    for _ in 0..count {
        let start = cursor.offset();
        let offset = sdnv(cursor, "claim offset")?;
        let length = sdnv(cursor, "claim length")?;
        let ascends = behind.is_none_or(|end| offset > end);
        let end = offset
            .checked_add(length)
            .filter(|&end| length > 0 && end <= scope && ascends);
        if end.is_none() {
            return Err(DecodeError::new("claim", start, Fault::Bounds));
        }
        behind = end;
    }
    let len = cursor.offset() - before.offset();
    let octets = before.rest().get(..len).unwrap_or_default();
    Ok(Claims {
        from: Source::Wire { octets, lower },
        count,
    })
}
