//! Memory of a server of this crate, got by a script on `cubesat-space-protocol-py`: the VMEM dialect of DTP with CRC32
//! and without RDP.

use std::net::{Ipv4Addr, UdpSocket};

use bytes::Bytes;
use farlink::adapters::interfaces::Interfaces;
use farlink::adapters::tokio::dtp::Node;
use farlink::dtp::Config;

use crate::csp_py::{Peer, run};

const ADDRESS: u64 = 0x1_0000_0000;
const BEFORE: usize = 1000;

fn octets(count: usize) -> Bytes {
    (0..=250).cycle().take(count).collect()
}

#[test]
#[ignore = "needs cubesat-space-protocol-py; tests/interop/setup.sh installs it"]
fn csp_py_gets_memory_of_our_server_whole() {
    for size in [1, 200, 100_123] {
        run(async {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let local = socket.local_addr().unwrap().port();
            let memory = format!("--memory={}+{size}", ADDRESS + 1000);
            let mut peer = Peer::start(local, &["--crc32", &memory]);
            let port = u16::try_from(peer.told("bound")["port"].as_u64().unwrap()).unwrap();
            let mut interfaces = Interfaces::new();
            let remote = (Ipv4Addr::LOCALHOST, port).into();
            interfaces.add_udp_peer(0, socket, remote).unwrap();
            let config = Config {
                vmem_messages: 1,
                ..Config::default()
            };
            let node = Node::start(interfaces, config).unwrap();
            let payload = octets(BEFORE + size);
            node.serve(3, payload.clone()).unwrap();
            node.serve_memory(3, ADDRESS).unwrap();
            peer.go();

            let told = tokio::task::spawn_blocking(move || peer.told("memory"));
            let told = told.await.unwrap();

            assert_eq!((&told["missing"], &told["busy"]), (&0.into(), &0.into()));
            assert_eq!(told["is_session"], true);
            let hex: String = payload[BEFORE..]
                .iter()
                .map(|octet| format!("{octet:02x}"))
                .collect();
            assert!(told["hex"] == hex, "{size} octets");
        });
    }
}
