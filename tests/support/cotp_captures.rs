//! The COTP vectors in the format of `vectors/README.md`.
#![allow(dead_code, reason = "every user needs another part of it")]

use std::fs;
use std::path::Path;

use farlink::cotp::{Compat, Config, Parameter, ParameterOrder, Policy, Selector, TpduSize};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub(crate) use crate::vector_octets::{Octets, unhex};

/// The names of the files of conversations.
pub(crate) const CONVERSATIONS: [&str; 12] = [
    "01_connect_no_tsel",
    "02_connect_tsel_s7",
    "03_connect_tsel_mms",
    "04_connect_called_tsel_only",
    "05_small_echo",
    "06_segmented_10000_echo",
    "07_back_to_back_200",
    "08_empty_message_not_sent",
    "09_close_without_drain",
    "10_server_sends_then_closes",
    "11_hat_client_libiec61850_echo",
    "12_libiec61850_client_hat_echo",
];

#[derive(Deserialize)]
pub(crate) struct Record {
    pub(crate) from: Side,
    pub(crate) octets: Option<Octets>,
    pub(crate) event: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    Fin,
    Rst,
}

#[derive(Deserialize)]
pub(crate) struct Field {
    pub(crate) code: u8,
    pub(crate) value: String,
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum Tpdu {
    #[serde(rename = "CR")]
    Cr(Connect),
    #[serde(rename = "CC")]
    Cc(Connect),
    #[serde(rename = "DR")]
    Dr {
        dst_ref: u16,
        src_ref: u16,
        reason: u8,
        parameters: Vec<Field>,
        user_data: Option<String>,
    },
    #[serde(rename = "ER")]
    Er {
        dst_ref: u16,
        cause: u8,
        parameters: Vec<Field>,
    },
    #[serde(rename = "DT")]
    Dt { eot: bool, data: Octets },
    #[serde(rename = "ED")]
    Ed { eot: bool, data: Octets },
}

#[derive(Deserialize)]
pub(crate) struct Connect {
    pub(crate) dst_ref: u16,
    pub(crate) src_ref: u16,
    pub(crate) class: u8,
    pub(crate) parameters: Vec<Field>,
    pub(crate) variable: Option<String>,
    pub(crate) user_data: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Rfc {
    pub(crate) vectors: Vec<Vector>,
    pub(crate) malformed: Vec<Malformed>,
    pub(crate) segmentations: Vec<Segmentation>,
}

#[derive(Deserialize)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) octets: Octets,
    pub(crate) tpdu: Tpdu,
}

#[derive(Deserialize)]
pub(crate) struct Malformed {
    pub(crate) name: String,
    pub(crate) octets: String,
    pub(crate) offset: usize,
}

#[derive(Deserialize)]
pub(crate) struct Segmentation {
    pub(crate) tpdu_size: usize,
    pub(crate) message: Octets,
    pub(crate) octets: Octets,
}

#[derive(Deserialize)]
pub(crate) struct Conversation {
    pub(crate) agreed: Agreed,
    pub(crate) tpdus: Vec<Decoded>,
    #[serde(default)]
    pub(crate) messages: Vec<Message>,
    pub(crate) records: Vec<Record>,
}

#[derive(Deserialize)]
pub(crate) struct Agreed {
    pub(crate) calling: Option<String>,
    pub(crate) called: Option<String>,
    pub(crate) tpdu_size: usize,
}

#[derive(Deserialize)]
pub(crate) struct Decoded {
    pub(crate) from: Side,
    pub(crate) octets: Octets,
    pub(crate) tpdu: Tpdu,
}

#[derive(Deserialize)]
pub(crate) struct Message {
    pub(crate) from: Side,
    pub(crate) octets: Octets,
    pub(crate) dts: Option<usize>,
}

#[derive(Deserialize)]
pub(crate) struct Odd {
    pub(crate) setup: Setup,
    pub(crate) cases: Vec<Case>,
}

#[derive(Deserialize)]
pub(crate) struct Setup {
    pub(crate) order: Vec<u8>,
    pub(crate) reference: Option<u16>,
    pub(crate) largest_tpdu: Option<usize>,
    pub(crate) calling: Option<String>,
    pub(crate) called: Option<String>,
    pub(crate) tpdu_size: Option<usize>,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) reference: Option<u16>,
    pub(crate) records: Vec<Record>,
    pub(crate) ours: Ours,
}

#[derive(Deserialize)]
pub(crate) struct Ours {
    pub(crate) strict: Option<String>,
    pub(crate) outcome: String,
    pub(crate) replies: Option<String>,
    pub(crate) sends: Option<Octets>,
    pub(crate) writes: Option<Octets>,
    pub(crate) calling: Option<String>,
    pub(crate) called: Option<String>,
    pub(crate) tpdu_size: Option<usize>,
    pub(crate) variable: Option<String>,
    pub(crate) user_data: Option<String>,
    #[serde(default)]
    pub(crate) messages: Vec<Octets>,
    pub(crate) end: String,
    pub(crate) reason: Option<u8>,
    pub(crate) cause: Option<u8>,
    pub(crate) info: Option<String>,
    pub(crate) invalid_tpdu: Option<String>,
    pub(crate) why: String,
}

/// Reads a file of `vectors/cotp`.
pub(crate) fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors/cotp")
        .join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the octets of one side in order.
pub(crate) fn stream(records: &[Record], side: Side) -> Vec<u8> {
    records
        .iter()
        .filter(|record| record.from == side)
        .filter_map(|record| record.octets.as_ref())
        .flat_map(Octets::to_vec)
        .collect()
}

impl Conversation {
    /// Returns the configuration of an end that replaces one of the programs.
    pub(crate) fn config(&self, side: Side) -> Config {
        let opening = self.opening(side);
        let parameters = || opening.parameters.iter();
        let value = |code| {
            let field = parameters().find(|field| field.code == code)?;
            Some(unhex(&field.value))
        };
        let agreed = TpduSize::from_octets(self.agreed.tpdu_size).expect("a size");
        let (base, tpdu_size) = match side {
            Side::Server => (Config::responder(Policy::AcceptAny), agreed),
            Side::Client => (
                Config::initiator(
                    value(0xC1).map(Selector::new),
                    value(0xC2).map(Selector::new),
                ),
                value(0xC0).map_or(TpduSize::LARGEST, |value| {
                    TpduSize::from_code(value[0]).expect("a size")
                }),
            ),
        };
        Config {
            tpdu_size,
            compat: Compat {
                reference: Some(opening.src_ref),
                order: order(parameters().map(|field| field.code)),
                ..base.compat
            },
            ..base
        }
    }

    /// Returns the CR or CC of a side.
    fn opening(&self, side: Side) -> &Connect {
        let mut tpdus = self.tpdus.iter();
        let decoded = tpdus.find(|decoded| decoded.from == side).expect("one");
        match &decoded.tpdu {
            Tpdu::Cr(connect) | Tpdu::Cc(connect) => connect,
            _ => panic!("neither CR nor CC"),
        }
    }

    /// Returns the messages of a side.
    pub(crate) fn messages_of(&self, side: Side) -> Vec<Vec<u8>> {
        let messages = self.messages.iter();
        let own = messages.filter(|message| message.from == side);
        own.map(|message| message.octets.to_vec()).collect()
    }
}

/// Returns the order of the parameters.
pub(crate) fn order(codes: impl IntoIterator<Item = u8>) -> ParameterOrder {
    let mut order: Vec<Parameter> = codes
        .into_iter()
        .filter_map(|code| match code {
            0xC0 => Some(Parameter::TpduSize),
            0xC1 => Some(Parameter::Calling),
            0xC2 => Some(Parameter::Called),
            _ => None,
        })
        .collect();
    for rest in ParameterOrder::default().0 {
        if !order.contains(&rest) {
            order.push(rest);
        }
    }
    ParameterOrder(order.try_into().expect("each parameter once"))
}

impl Connect {
    /// Returns the variable part as octets.
    pub(crate) fn variable(&self) -> Vec<u8> {
        match &self.variable {
            Some(variable) => unhex(variable),
            None => fields(&self.parameters),
        }
    }
}

/// Encodes a parameter list.
pub(crate) fn fields(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        let value = unhex(&field.value);
        out.push(field.code);
        out.push(u8::try_from(value.len()).expect("a short value"));
        out.extend(value);
    }
    out
}
