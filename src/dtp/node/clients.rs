//! Transfers from servers.

use super::runs::Runs;
use super::{MAX_TAG, Node, REQUEST_PORT};
use crate::Tag;
use crate::csp::{CloseReason, ConnectionId, Endpoint, Flags, Packet, SendOptions, SynOptions};
use crate::dtp::api::{Error, Event, FailReason, GetOptions, Stats};
use crate::dtp::client::{Download, Stage};
use crate::dtp::config::Config;
use crate::dtp::extension::Extension;
use crate::dtp::server::DATA_PORT;
use crate::dtp::session::Session;
use crate::dtp::wire::{DATA_HEADER_LEN, DataPacket, Response};
use crate::{Hop, Instant};

impl Node {
    pub(super) fn get(
        &mut self,
        tag: Tag,
        server: u16,
        payload: u8,
        options: GetOptions,
    ) -> Result<(), Error> {
        let session = self.draw_session();
        self.begin(tag, (server, payload), options, session)?;
        Ok(())
    }

    /// Draws the id of a session.
    pub(super) fn draw_session(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.rng.next_u64().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    pub(super) fn get_rest(
        &mut self,
        tag: Tag,
        session: &Session,
        options: GetOptions,
    ) -> Result<(), Error> {
        let options = GetOptions {
            mtu: session.mtu,
            throughput: session.throughput,
            ..options
        };
        if session.address.is_some() {
            return Err(Error::SessionAddress {
                session: session.address,
                address: None,
            });
        }
        let from = (session.server, session.payload);
        self.begin(tag, from, options, session.id)?.restore(session);
        Ok(())
    }

    pub(super) fn begin(
        &mut self,
        tag: Tag,
        (server, payload): (u16, u8),
        options: GetOptions,
        session: u32,
    ) -> Result<&mut Download, Error> {
        if self.is_shut_down {
            return Err(Error::ShutDown);
        }
        if options.throughput == 0 {
            return Err(Error::NoThroughput);
        }
        // Bound: 9.
        let least = u16::try_from(DATA_HEADER_LEN + 1).unwrap_or(u16::MAX);
        let (mtu, most) = (options.mtu, self.config.max_mtu());
        if mtu < least || mtu > most {
            return Err(Error::Mtu { mtu, least, most });
        }
        let GetOptions { first, last, .. } = options;
        if first > last {
            return Err(Error::Range { first, last });
        }
        let to = Endpoint {
            address: server,
            port: REQUEST_PORT,
        };
        self.csp.check_peer(to)?;
        if self
            .downloads
            .iter()
            .any(|it| !it.is_free() && it.tag == tag)
        {
            return Err(Error::TagInUse(tag));
        }
        let limit = self.config.clients;
        let download = self.downloads.iter_mut().find(|it| it.is_free());
        let download = download.ok_or(Error::NoSlot { limit })?;
        download.begin(self.now, tag, (server, payload), options, session);
        Ok(download)
    }

    /// Changes a transfer that is under way to another stage, in which it has no connection.
    fn halt(&mut self, tag: Tag, stage: Stage) -> Result<(), Error> {
        let mut downloads = self.downloads.iter_mut().enumerate();
        let found = downloads.find(|(_, it)| it.tag == tag && it.is_under_way());
        let (place, download) = found.ok_or(Error::NoTransfer(tag))?;
        if download.stage == stage {
            return Err(Error::NotUnderWay(tag));
        }
        let connection = download.connection();
        let has_begun = matches!(download.stage, Stage::Receiving { .. });
        download.stage = stage;
        self.send_stop(place, has_begun);
        if let Some(connection) = connection {
            self.close(connection);
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self, tag: Tag) -> Result<(), Error> {
        self.halt(tag, Stage::Failed(FailReason::Cancelled))
    }

    pub(super) fn pause(&mut self, tag: Tag) -> Result<(), Error> {
        self.halt(tag, Stage::Paused)
    }

    pub(super) fn resume(&mut self, tag: Tag) -> Result<(), Error> {
        let mut downloads = self.downloads.iter_mut();
        let download = downloads.find(|it| it.tag == tag && it.stage == Stage::Paused);
        let download = download.ok_or(Error::NotPaused(tag))?;
        download.stage = Stage::Waiting { until: self.now };
        Ok(())
    }

    /// Cancels all transfers.
    pub(super) fn end_downloads(&mut self) {
        for place in 0..self.downloads.len() {
            if let Some(download) = self.downloads.get(place)
                && download.is_under_way()
            {
                // It is under way.
                let _: Result<(), Error> = self.cancel(download.tag);
            }
        }
    }

    /// Takes what came on an interface; packets of payloads go straight to their transfer.
    pub(super) fn receive_octets(&mut self, hop: Hop, octets: &[u8]) {
        let Self {
            csp,
            downloads,
            runs,
            stats,
            now,
            config,
            outgoing,
            ..
        } = self;
        csp.receive_octets(hop, octets, &mut |packet| {
            take_data((*now, config), packet, downloads, runs, stats)
                || outgoing.iter_mut().any(|it| it.take_datagram(packet))
        });
    }

    /// Fires the timers of CSP, and takes what this node has sent to itself.
    pub(super) fn advance_csp(&mut self) {
        let Self {
            csp,
            downloads,
            runs,
            stats,
            now,
            config,
            outgoing,
            ..
        } = self;
        csp.advance(*now, &mut |packet| {
            take_data((*now, config), packet, downloads, runs, stats)
                || outgoing.iter_mut().any(|it| it.take_datagram(packet))
        });
    }

    pub(super) fn downloads_on_time(&mut self) {
        for place in 0..self.downloads.len() {
            self.download_on_time(place);
        }
    }

    fn download_on_time(&mut self, place: usize) {
        let now = self.now;
        let Some(download) = self.downloads.get_mut(place) else {
            return;
        };
        let connection = download.connection();
        let is_due = download.deadline().is_some_and(|deadline| deadline <= now);
        let has_begun = matches!(download.stage, Stage::Receiving { .. });
        if is_due && download.is_out_of_time(now) {
            self.send_stop(place, has_begun);
            return self.close_all(connection);
        }
        match download.stage {
            Stage::Waiting { .. } if is_due => match download.memory {
                Some(memory) => self.send_start(place, memory.request),
                None => self.connect(place),
            },
            Stage::AwaitingResponse { .. } if is_due => {
                download.fail_request(now, FailReason::NoAnswer);
                self.close_all(connection);
            }
            Stage::Receiving { .. } => {
                download.receive_on_time(now);
                if download.connection().is_none() {
                    self.close_all(connection);
                }
                self.send_asks(place);
                self.send_alive(place);
            }
            _ => {}
        }
    }

    pub(super) fn close_all(&mut self, connection: Option<ConnectionId>) {
        if let Some(connection) = connection {
            self.close(connection);
        }
    }

    fn connect(&mut self, place: usize) {
        let now = self.now;
        let Some(download) = self.downloads.get_mut(place) else {
            return;
        };
        let to = Endpoint {
            address: download.server,
            port: REQUEST_PORT,
        };
        download.connect(now);
        // Bound: there are at most 255 places.
        let tag = Tag(MAX_TAG - place as u64);
        // The server sends nothing before its response is acknowledged.
        let syn = SynOptions {
            ack_delay_count: 0,
            ..self.csp.config().rdp
        };
        let options = SendOptions {
            hmac: self.config.hmac,
            ..SendOptions::default()
        };
        if self.csp.connect(tag, to, options, syn).is_err()
            && let Some(download) = self.downloads.get_mut(place)
        {
            // All source ports rest, or connections that end have the slots.
            download.fail_request(now, FailReason::NoAnswer);
        }
    }

    /// Asks a server of this crate for more.
    fn send_asks(&mut self, place: usize) {
        let Some(download) = self.downloads.get_mut(place) else {
            return;
        };
        let Some(connection) = download.connection() else {
            return;
        };
        while let Some(ask) = download.next_ask() {
            if self.csp.send(connection, ask).is_err() {
                // It has closed, which is told.
                return;
            }
        }
    }

    pub(super) fn on_connected(&mut self, place: usize, connection: ConnectionId) {
        self.set_own(connection, Some(connection));
        let now = self.now;
        let download = self.downloads.get_mut(place);
        let Some(download) = download.filter(|it| it.stage == Stage::Connecting) else {
            // It was cancelled in the meantime.
            return self.close(connection);
        };
        let request = download.request(now, connection).encode();
        let message = download.message.put(&request);
        if self.csp.send(connection, message).is_err() {
            self.close(connection);
        }
    }

    pub(super) fn on_connect_failed(&mut self, place: usize, reason: CloseReason) {
        let now = self.now;
        let download = self.downloads.get_mut(place);
        if let Some(download) = download.filter(|it| it.stage == Stage::Connecting) {
            let reason = match reason {
                CloseReason::Refused => FailReason::Refused,
                _ => FailReason::NoAnswer,
            };
            download.fail_request(now, reason);
        }
    }

    pub(super) fn download_at(&mut self, connection: ConnectionId) -> Option<&mut Download> {
        let mut downloads = self.downloads.iter_mut();
        downloads.find(|it| it.connection() == Some(connection))
    }

    pub(super) fn on_packet_of_server(&mut self, connection: ConnectionId, data: &[u8]) {
        let now = self.now;
        let Some(download) = self.download_at(connection) else {
            return;
        };
        if !matches!(download.stage, Stage::AwaitingResponse { .. }) {
            return download.on_done(now, data);
        }
        match Response::decode(data) {
            Ok(response) => {
                let extension = Extension::decode(data, download.session);
                download.on_response(now, connection, response, extension);
            }
            Err(_) => download.stage = Stage::Failed(FailReason::BadResponse),
        }
        if download.connection().is_none() {
            self.close(connection);
        }
    }

    pub(super) fn on_server_closed(&mut self, connection: ConnectionId) {
        let now = self.now;
        if let Some(download) = self.download_at(connection) {
            download.on_closed(now);
        }
    }

    pub(super) fn next_started(&mut self) -> Option<Event> {
        let mut downloads = self.downloads.iter_mut();
        let download = downloads.find(|it| !it.is_announced)?;
        download.is_announced = true;
        Some(Event::Started {
            tag: download.tag,
            size: download.size?,
            session: download.session,
            identity: download.identity,
        })
    }

    pub(super) fn next_ended(&mut self) -> Option<Event> {
        let mut downloads = self.downloads.iter_mut();
        downloads.find_map(|download| {
            let event = match download.stage {
                // All octets were given to the application.
                Stage::Complete if download.check() == Some(false) => Event::Failed {
                    tag: download.tag,
                    reason: FailReason::Damaged,
                    missing: 0,
                    rounds: download.rounds,
                    asked_again: download.asked_again(),
                },
                Stage::Complete => Event::Complete {
                    tag: download.tag,
                    size: download.size?,
                    requests: download.requests,
                    rounds: download.rounds,
                    asked_again: download.asked_again(),
                    is_checked: download.check() == Some(true),
                },
                Stage::Failed(reason) => Event::Failed {
                    tag: download.tag,
                    reason,
                    missing: download.holes.missing(),
                    rounds: download.rounds,
                    asked_again: download.asked_again(),
                },
                _ => return None,
            };
            download.stage = Stage::Free;
            Some(event)
        })
    }
}

impl Download {
    fn is_under_way(&self) -> bool {
        !matches!(self.stage, Stage::Free | Stage::Complete | Stage::Failed(_))
    }
}

/// Takes a data packet of a transfer. Returns whether the packet came to the port of data.
fn take_data(
    (now, config): (Instant, &Config),
    packet: &Packet<'_>,
    downloads: &mut [Download],
    runs: &mut Runs,
    stats: &mut Stats,
) -> bool {
    if packet.header.destination_port != DATA_PORT {
        return false;
    }
    let source = packet.header.source;
    let is_signed = !config.hmac || packet.header.flags.contains(Flags::HMAC);
    let data = DataPacket::decode(packet.data).ok().filter(|_| is_signed);
    let found = data.and_then(|data| {
        let mut downloads = downloads.iter_mut();
        let download = downloads.find(|it| it.expects(source, data.session))?;
        let place = download.place_of(&data)?;
        Some((download, place, data))
    });
    let Some((download, place, data)) = found else {
        stats.foreign_data += 1;
        return true;
    };
    let mut was_missing = false;
    if !download.holes.contains(place) {
        stats.duplicates += 1;
    } else if runs.add(download.tag, data.offset, data.data) {
        was_missing = download.take(place);
        stats.data_received += 1;
    } else {
        stats.queue_full += 1;
    }
    download.on_packet(now, place, was_missing);
    true
}
