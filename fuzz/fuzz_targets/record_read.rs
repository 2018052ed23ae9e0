//! Any file as a capture, and as a recording to look at, to redact and to replay.
#![no_main]

use farlink::cotp::Connection;
use farlink::record::read_in_all_ways;

libfuzzer_sys::fuzz_target!(|file: &[u8]| read_in_all_ways::<Connection>(file));
