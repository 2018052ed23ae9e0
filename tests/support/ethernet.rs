//! Captures of Ethernet as pcap with microseconds.
#![allow(dead_code, reason = "every user needs another part of it")]

/// What a segment carries beside its octets.
pub(crate) const SYN: u8 = 0x02;
pub(crate) const FIN: u8 = 0x11;
pub(crate) const RST: u8 = 0x14;
pub(crate) const ACK: u8 = 0x10;

/// 2026-11-21 10:00 UTC.
pub(crate) const EPOCH: u32 = 1_795_255_200;

/// A client, a server on a port, and the capture between them.
pub(crate) struct Tap {
    port: u16,
    file: Vec<u8>,
    /// Packets so far, a millisecond each.
    packets: u32,
}

/// Which of the two sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Server,
}

impl Tap {
    pub(crate) fn new(port: u16) -> Self {
        let mut file = Vec::new();
        file.extend_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
        file.extend_from_slice(&[2, 0, 4, 0]);
        file.extend_from_slice(&[0; 8]);
        file.extend_from_slice(&65535_u32.to_le_bytes());
        file.extend_from_slice(&1_u32.to_le_bytes());
        let packets = 0;
        Self {
            port,
            file,
            packets,
        }
    }

    /// Captures one whole segment.
    pub(crate) fn segment(&mut self, from: From, sequence: u32, flags: u8, payload: &[u8]) {
        self.segment_cut(from, sequence, flags, payload, payload.len());
    }

    /// Captures one segment, with this number of octets of its payload in the file.
    pub(crate) fn segment_cut(
        &mut self,
        from: From,
        sequence: u32,
        flags: u8,
        payload: &[u8],
        captured: usize,
    ) {
        let (source, destination, ports) = self.ends(from);
        let mut tcp = Vec::new();
        for port in ports {
            tcp.extend_from_slice(&port.to_be_bytes());
        }
        tcp.extend_from_slice(&sequence.to_be_bytes());
        tcp.extend_from_slice(&[0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend_from_slice(payload);
        self.packet(6, source, destination, &tcp, payload.len() - captured);
    }

    /// Captures one UDP datagram, with this number of octets in the file.
    pub(crate) fn datagram_cut(&mut self, from: From, payload: &[u8], captured: usize) {
        let (source, destination, ports) = self.ends(from);
        let mut udp = Vec::new();
        for port in ports {
            udp.extend_from_slice(&port.to_be_bytes());
        }
        udp.extend_from_slice(&u16::try_from(payload.len() + 8).unwrap().to_be_bytes());
        udp.extend_from_slice(&[0, 0]);
        udp.extend_from_slice(payload);
        self.packet(17, source, destination, &udp, payload.len() - captured);
    }

    /// Captures one UDP datagram.
    pub(crate) fn datagram(&mut self, from: From, payload: &[u8]) {
        self.datagram_cut(from, payload, payload.len());
    }

    fn ends(&self, from: From) -> ([u8; 4], [u8; 4], [u16; 2]) {
        match from {
            From::Client => ([10, 0, 0, 1], [10, 0, 0, 2], [50_000, self.port]),
            From::Server => ([10, 0, 0, 2], [10, 0, 0, 1], [self.port, 50_000]),
        }
    }

    /// Captures a packet that is neither UDP nor TCP.
    pub(crate) fn ping(&mut self) {
        self.packet(
            1,
            [10, 0, 0, 1],
            [10, 0, 0, 2],
            &[8, 0, 0, 0, 0, 0, 0, 0],
            0,
        );
    }

    /// Ends the capture.
    pub(crate) fn file(self) -> Vec<u8> {
        self.file
    }

    fn packet(
        &mut self,
        proto: u8,
        source: [u8; 4],
        destination: [u8; 4],
        octets: &[u8],
        left_out: usize,
    ) {
        let total = u16::try_from(20 + octets.len()).unwrap();
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
        frame.extend_from_slice(&total.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 0, 64, proto, 0, 0]);
        frame.extend_from_slice(&source);
        frame.extend_from_slice(&destination);
        frame.extend_from_slice(octets);
        let length = u32::try_from(frame.len()).unwrap();
        let captured = length - u32::try_from(left_out).unwrap();
        for number in [EPOCH, self.packets * 1000, captured, length] {
            self.file.extend_from_slice(&number.to_le_bytes());
        }
        self.file
            .extend_from_slice(&frame[..usize::try_from(captured).unwrap()]);
        self.packets += 1;
    }
}
