//! The laws of every machine, checked on nodes.

use farlink::csp::{
    Command, Config, Encapsulation, Header, InterfaceConfig, Node, Packet, SocketOptions, Version,
};
use farlink::laws::{self, Case, Step};
use farlink::{Hop, Limits};

#[test]
fn a_node_keeps_the_laws_under_any_script() {
    crate::tries::tries(1000, 1 << 9..=1 << 14, |u| {
        laws::check(u.arbitrary::<Case<Node>>()?);
        Ok(())
    });
}

/// Laws that hold for nodes that never send would prove little.
#[test]
fn the_scripts_lead_to_packets_and_events() {
    let [made, events, sends] = crate::scripts::outcome::<Node>();
    assert!(
        made > 200 && events > 100 && sends > 300,
        "{made} {events} {sends}"
    );
}

/// Here the numbers are those of a connection.
#[test]
fn a_node_keeps_the_laws_under_packets_of_an_open_connection() {
    crate::tries::tries(1500, 1 << 7..=1 << 11, |u| {
        let len = u.len();
        let mut octets = u.bytes(len)?.to_vec();
        // A script of that kind.
        if let Some(first) = octets.first_mut() {
            *first |= 1;
        }
        crate::csp_bodies::node(&octets);
        Ok(())
    });
}

/// Packets to a port and for the tap, on a serial line: each queue keeps its order, whatever comes between two chunks.
#[test]
fn events_of_each_queue_keep_their_order_however_a_serial_line_is_read() {
    let serial = InterfaceConfig {
        encapsulation: Encapsulation::Kiss { crc32: false },
        ..InterfaceConfig::default()
    };
    let config = Config {
        address: 1,
        interfaces: vec![serial],
        promiscuous: 8,
        ..Config::default()
    };
    let packet = |destination, data: &[u8]| {
        let header = Header {
            destination,
            destination_port: 11,
            source: 2,
            source_port: 50,
            ..Header::default()
        };
        let mut octets = vec![0xC0, 0];
        Packet { header, data }.encode(Version::V2, &mut octets);
        octets.push(0xC0);
        octets
    };
    let octets = [packet(3, b"for another"), packet(1, b"for this node")].concat();
    for seed in 0..20 {
        let (port, options) = (11, SocketOptions::empty());
        let from = Hop {
            interface: 0,
            via: 0,
        };
        laws::check(Case::<Node> {
            config: config.clone(),
            seed,
            limits: Limits::default(),
            script: vec![
                Step::Command(Command::Bind { port, options }),
                Step::Receive {
                    from,
                    octets: octets.clone(),
                },
            ],
        });
    }
}
