//! The bodies of the fuzz targets of DTP, which tests run on the seeds.
#![allow(dead_code, reason = "each target uses one of them")]

use arbitrary::Unstructured;
use farlink::dtp::{DataPacketCodec, MAX_INTERVALS, Node, Request, Response};
use farlink::laws::codec;
use farlink::laws::{self, Case};

/// A node under all the laws.
pub(crate) fn node(octets: &[u8]) {
    if let Ok(case) = Unstructured::new(octets).arbitrary::<Case<Node>>() {
        laws::check(case);
    }
}

/// Checks law 10 for octets as a data packet, and that what decodes as a request or a response comes back.
pub(crate) fn wire(octets: &[u8]) {
    codec::check_octets::<DataPacketCodec>(octets);
    if let Ok(response) = Response::decode(octets) {
        assert_eq!(Response::decode(&response.encode()), Ok(response));
    }
    if let Ok(request) = Request::decode(octets) {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
        let intervals = request.intervals.as_slice();
        assert!((1..=MAX_INTERVALS).contains(&intervals.len()));
        assert!(intervals.iter().all(|it| it.start <= it.end));
        assert!(request.throughput > 0 && request.chunk() > 0);
    }
}
