//! Encoding and decoding of the messages of the VMEM dialect, which go to the port of the VMEM server.
//!
//! | octets | field, integers big-endian |
//! |---|---|
//! | 0 | version, which the sender chooses |
//! | 1 | 0x80: a message of DTP among those of VMEM |
//! | 2 | operation: 0 start, 1 stop, 2 status, 3 alive |
//! | 3 | start and stop: the session id |
//! | 7 | start: the address in memory, 64 bits |
//! | 15 | start: how many octets |
//! | 19 | start: a request of 80 octets, in big-endian |

use super::wire::{Endian, REQUEST_LEN, Request};
use crate::wire::{DecodeError, Fault};

/// Octets of the longest message: a start.
pub const VMEM_START_LEN: usize = 19 + REQUEST_LEN;
/// Octets of the answer to a status message.
pub const VMEM_STATUS_LEN: usize = 8;

/// The type of messages of DTP among those of VMEM.
const DTP_TYPE: u8 = 0x80;
const HEAD_LEN: usize = 3;
const STOP_LEN: usize = 7;
/// Octets of a start before its request.
const START_HEAD_LEN: usize = VMEM_START_LEN - REQUEST_LEN;

/// A message of the VMEM dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "the fields of the message")]
pub struct VmemMessage {
    /// The version of VMEM that the sender has. Servers ignore it.
    pub version: u8,
    /// What is to be done.
    pub operation: VmemOperation,
}

/// What a message of the VMEM dialect says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the operations there are")]
pub enum VmemOperation {
    /// Send these octets of the memory.
    Start {
        /// The address of the first octet.
        address: u64,
        /// How many octets the whole has, of which `request` asks for intervals.
        size: u32,
        /// How they are sent. Its payload number means nothing.
        request: Request,
    },
    /// Send no more of this session.
    Stop {
        /// The session of the start.
        session: u32,
    },
    /// Tell what is being sent, by a [`VmemStatus`].
    Status,
    /// The client is there still.
    Alive,
}

impl VmemMessage {
    /// Decodes a message.
    ///
    /// # Errors
    ///
    /// When the type or the operation is another, the length is not that of the operation, or [`Request::decode`] would
    /// refuse the request.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let Some(([version, kind, operation], body)) = octets.split_first_chunk::<HEAD_LEN>()
        else {
            let (need, left) = (HEAD_LEN, octets.len());
            return Err(DecodeError::new("VMEM", 0, Fault::Short { need, left }));
        };
        if *kind != DTP_TYPE {
            return Err(DecodeError::new(
                "VMEM type",
                1,
                Fault::Value((*kind).into()),
            ));
        }
        let operation = match *operation {
            0 => decode_start(body)?,
            1 => {
                let session = <[u8; STOP_LEN - HEAD_LEN]>::try_from(body);
                let session = session.map_err(|_| length(octets))?;
                let session = u32::from_be_bytes(session);
                VmemOperation::Stop { session }
            }
            2 if body.is_empty() => VmemOperation::Status,
            3 if body.is_empty() => VmemOperation::Alive,
            2 | 3 => return Err(length(octets)),
            other => {
                return Err(DecodeError::new(
                    "VMEM operation",
                    2,
                    Fault::Value(other.into()),
                ));
            }
        };
        Ok(Self {
            version: *version,
            operation,
        })
    }

    /// Returns the octets of the message, of which the second number says how many there are.
    #[must_use]
    pub fn encode(&self) -> ([u8; VMEM_START_LEN], usize) {
        let mut octets = [0; VMEM_START_LEN];
        let mut len = 0;
        let mut put = |piece: &[u8]| {
            if let Some(place) = octets.get_mut(len..len + piece.len()) {
                place.copy_from_slice(piece);
                len += piece.len();
            }
        };
        put(&[self.version, DTP_TYPE]);
        match self.operation {
            VmemOperation::Start {
                address,
                size,
                request,
            } => {
                put(&[0]);
                put(&request.session.to_be_bytes());
                put(&address.to_be_bytes());
                put(&size.to_be_bytes());
                put(&request.encode_in(Endian::Big));
            }
            VmemOperation::Stop { session } => {
                put(&[1]);
                put(&session.to_be_bytes());
            }
            VmemOperation::Status => put(&[2]),
            VmemOperation::Alive => put(&[3]),
        }
        (octets, len)
    }
}

fn length(octets: &[u8]) -> DecodeError {
    DecodeError::new("VMEM", 0, Fault::Length(octets.len()))
}

/// Decodes what follows the operation. The session is that of the request: libdtp sends old memory in place of the other.
fn decode_start(body: &[u8]) -> Result<VmemOperation, DecodeError> {
    const REST: usize = START_HEAD_LEN - HEAD_LEN;
    let split = body.split_first_chunk::<REST>();
    let Some((head, request)) = split.filter(|(_, request)| request.len() == REQUEST_LEN) else {
        let len = HEAD_LEN + body.len();
        return Err(DecodeError::new("VMEM start", 0, Fault::Length(len)));
    };
    let [_, _, _, _, address @ .., s0, s1, s2, s3] = *head;
    Ok(VmemOperation::Start {
        address: u64::from_be_bytes(address),
        size: u32::from_be_bytes([s0, s1, s2, s3]),
        request: Request::decode_in(Endian::Big, request, false)?,
    })
}

/// The answer to a status message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(clippy::exhaustive_structs, reason = "the fields of the answer")]
pub struct VmemStatus {
    /// The session that is being sent, or was sent last; 0 if there was none, or it was stopped.
    pub session: u32,
    /// Whether it is being sent.
    pub is_busy: bool,
}

impl VmemStatus {
    /// Decodes an answer.
    ///
    /// # Errors
    ///
    /// When the length is not that of an answer.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let Ok([s0, s1, s2, s3, busy @ ..]) = <[u8; VMEM_STATUS_LEN]>::try_from(octets) else {
            let fault = Fault::Length(octets.len());
            return Err(DecodeError::new("VMEM status", 0, fault));
        };
        Ok(Self {
            session: u32::from_be_bytes([s0, s1, s2, s3]),
            is_busy: busy != [0; 4],
        })
    }

    /// Returns the octets of the answer.
    #[must_use]
    pub const fn encode(&self) -> [u8; VMEM_STATUS_LEN] {
        let [s0, s1, s2, s3] = self.session.to_be_bytes();
        [s0, s1, s2, s3, 0, 0, 0, self.is_busy as u8]
    }
}
