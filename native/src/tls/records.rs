//! An established TLS 1.3 session: what is left of one when its handshake is done, in 3 KB instead of 36.
//!
//! Records go straight from the received bytes to the plain ones, and from the plain ones to the output. The library
//! that did the handshake is gone by then, as with TLS in a kernel; what remains of the protocol are key updates,
//! alerts, and tickets of servers, which are passed over.
//!
//! Source: RFC 8446 4.6, 5, 6.

use openssl::error::ErrorStack;

use super::alert::{Alert, Fault};
use super::keys::{Keys, TAG};
use super::later::{Later, Update};
use super::memory::{Input, Output};
use super::partial::{HEADER, Partial};

/// Plain bytes in one record (RFC 8446 5.1).
const RECORD: usize = 16 << 10;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// Both directions, and what has come of them.
pub struct Records {
    pub output: Output,
    sealing: Keys,
    opening: Keys,
    partial: Partial,
    /// Plain bytes that the caller had no room for.
    held: Vec<u8>,
    later: Later,
    /// The peer wants our keys renewed, before we send anything else (RFC 8446 4.6.3).
    owes_update: bool,
    pub is_ended: bool,
    is_closed: bool,
}

impl Records {
    /// `output` is what the handshake left to be sent.
    pub fn new(sealing: Keys, opening: Keys, server: bool, output: Output) -> Self {
        Self {
            output,
            sealing,
            opening,
            partial: Partial::default(),
            held: Vec::new(),
            later: Later::new(server),
            owes_update: false,
            is_ended: false,
            is_closed: false,
        }
    }

    /// Append records that carry `plain` to the output.
    pub fn encrypt(&mut self, plain: &[u8]) -> Result<(), Fault> {
        if self.is_closed {
            return Err(Fault::silent("the TLS session was closed"));
        }
        if self.owes_update || self.sealing.is_worn() {
            self.update()?;
        }
        self.output
            .reserve(plain.len() + plain.len().div_ceil(RECORD) * (HEADER + 1 + TAG));
        for part in plain.chunks(RECORD) {
            self.seal(DATA, part)?;
        }
        Ok(())
    }

    /// Say goodbye.
    pub fn close(&mut self) {
        if !self.is_closed {
            self.alert(Alert::CLOSE_NOTIFY);
        }
    }

    /// Tell the peer; nothing is sent after that.
    pub fn alert(&mut self, alert: Alert) {
        let level = if alert == Alert::CLOSE_NOTIFY { 1 } else { 2 };
        drop(self.seal(ALERT, &[level, alert.0])); // who cannot is closed without
        self.is_closed = true;
    }

    fn update(&mut self) -> Result<(), ErrorStack> {
        self.owes_update = false;
        self.seal(HANDSHAKE, &Later::UPDATE)?;
        self.sealing.renew()
    }

    fn seal(&mut self, kind: u8, plain: &[u8]) -> Result<(), ErrorStack> {
        let size = u16::try_from(plain.len() + 1 + TAG).unwrap_or(u16::MAX).to_be_bytes();
        let header = [DATA, 3, 3, size[0], size[1]];
        let record = self.output.extend(HEADER + plain.len() + 1 + TAG);
        let (head, sealed) = record.split_at_mut(HEADER);
        head.copy_from_slice(&header);
        self.sealing.seal(&header, plain, kind, sealed)
    }

    /// Fill `plain` as far as the input goes; the bytes that were filled. What came before a fault is lost with it.
    pub fn decrypt(&mut self, input: &mut Input, plain: &mut [u8]) -> (usize, Result<(), Fault>) {
        let mut filled = self.take_held(plain);
        while filled < plain.len() && !self.is_ended {
            match self.open_next(input, &mut plain[filled..]) {
                Ok(Some(size)) => filled += size,
                Ok(None) => break,
                Err(fault) => return (filled, Err(fault)),
            }
        }
        (filled, Ok(()))
    }

    fn take_held(&mut self, plain: &mut [u8]) -> usize {
        let size = self.held.len().min(plain.len());
        plain[..size].copy_from_slice(&self.held[..size]);
        if size == self.held.len() {
            self.held = Vec::new();
        } else {
            self.held.drain(..size);
        }
        size
    }

    /// Open one record; how much of it went into `plain`, or None if there is no whole one.
    fn open_next(&mut self, input: &mut Input, plain: &mut [u8]) -> Result<Option<usize>, Fault> {
        if !self.partial.is_empty() || !Partial::is_whole(input.bytes())? {
            let Some(record) = self.partial.complete(input)? else {
                return Ok(None);
            };
            return self.open(&record, plain).map(Some);
        }
        let size = Partial::size(input.bytes())?.unwrap_or(HEADER);
        let opened = self.open(&input.bytes()[..size], plain);
        input.took(size);
        opened.map(Some)
    }

    fn open(&mut self, record: &[u8], plain: &mut [u8]) -> Result<usize, Fault> {
        let (header, sealed) = record.split_at(HEADER);
        if header[0] != DATA {
            return Err(Fault::unexpected());
        }
        if sealed.len() <= TAG {
            return Err(Fault::forged());
        }
        let size = sealed.len() - TAG;
        if plain.len() >= size {
            self.opening.open(header, sealed, plain).map_err(|_| Fault::forged())?;
            return self.opened(&plain[..size]);
        }
        let mut room = vec![0; size];
        self.opening
            .open(header, sealed, &mut room)
            .map_err(|_| Fault::forged())?;
        let kept = self.opened(&room)?;
        room.truncate(kept);
        self.held = room;
        Ok(self.take_held(plain))
    }

    /// Act on what a record carried; how many of its bytes are data.
    fn opened(&mut self, inner: &[u8]) -> Result<usize, Fault> {
        let Some(last) = inner.iter().rposition(|byte| *byte != 0) else {
            return Err(Fault::unexpected());
        };
        if last > RECORD {
            return Err(Fault::overflow());
        }
        let content = &inner[..last];
        match inner[last] {
            DATA => {
                self.later.saw_data(content.len())?;
                return Ok(content.len());
            }
            ALERT => self.is_ended = Alert::read(content)?,
            HANDSHAKE => self.follow(content)?,
            _ => return Err(Fault::unexpected()),
        }
        Ok(0)
    }

    fn follow(&mut self, content: &[u8]) -> Result<(), Fault> {
        if let Some(update) = self.later.read(content)? {
            self.opening.renew()?;
            self.owes_update |= update == Update::Requested;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::keys::Way;
    use crate::tls::keys::tests::keys;

    /// Two ends that seal with the same keys: good enough here.
    fn ends() -> (Records, Records) {
        let end = |server| Records::new(keys(Way::Out), keys(Way::In), server, Output::default());
        (end(false), end(true))
    }

    fn pass(from: &mut Records, to: &mut Records) -> Result<Vec<u8>, Fault> {
        let mut plain = vec![0; 1 << 16];
        let mut input = Input::from(from.output.bytes());
        from.output = Output::default();
        let (size, result) = to.decrypt(&mut input, &mut plain);
        plain.truncate(size);
        result.map(|()| plain)
    }

    #[test]
    fn keys_are_renewed_on_request_once_and_before_the_next_data() {
        let (mut client, mut server) = ends();
        for _ in 0..3 {
            client.seal(HANDSHAKE, &[24, 0, 0, 1, 1]).expect("sealed");
            client.sealing.renew().expect("renewed");
        }
        client.encrypt(b"new keys").expect("sealed");
        assert_eq!(pass(&mut client, &mut server), Ok(b"new keys".to_vec()));
        assert!(server.output.is_empty(), "nothing is sent for it alone");
        server.encrypt(b"mine too").expect("sealed");
        assert_eq!(
            server.output.bytes().len(),
            (HEADER + 5 + 1 + TAG) + (HEADER + 8 + 1 + TAG)
        );
        assert_eq!(pass(&mut server, &mut client), Ok(b"mine too".to_vec()));
        assert!(!client.owes_update);
    }

    #[test]
    fn worn_keys_are_renewed_without_being_asked() {
        let (mut client, mut server) = ends();
        client.sealing.wear();
        server.opening.wear();
        client.encrypt(b"x").expect("sealed");
        client.encrypt(b"y").expect("sealed");
        assert_eq!(pass(&mut client, &mut server), Ok(b"xy".to_vec()));
        assert!(!client.sealing.is_worn());
    }

    #[test]
    fn a_flood_of_key_updates_is_an_error() {
        let (mut client, mut server) = ends();
        for _ in 0..=32 {
            client.update().expect("sealed");
        }
        assert!(pass(&mut client, &mut server).is_err());
    }

    #[test]
    fn tickets_of_servers_are_passed_over_and_those_of_clients_are_refused() {
        let (mut client, mut server) = ends();
        let ticket = [[4, 0, 0x80, 0].as_slice(), &[7; 0x8000]].concat();
        for part in [&ticket[..2], &ticket[2..9000], &ticket[9000..20_000], &ticket[20_000..]] {
            server.seal(HANDSHAKE, part).expect("sealed");
        }
        server.encrypt(b"data").expect("sealed");
        assert_eq!(pass(&mut server, &mut client), Ok(b"data".to_vec()));
        client.seal(HANDSHAKE, &ticket[..100]).expect("sealed");
        assert!(pass(&mut client, &mut server).is_err());
    }

    #[test]
    fn what_has_no_place_after_a_handshake_is_an_error() {
        let malformed: [(u8, &[u8]); 9] = [
            (HANDSHAKE, &[]),
            (HANDSHAKE, &[1, 0, 0, 1, 0]),
            (HANDSHAKE, &[24, 0, 0, 2, 0, 0]),
            (HANDSHAKE, &[24, 0, 0, 1, 2]),
            (HANDSHAKE, &[24, 0, 0, 1, 0, 24]),
            (ALERT, &[1]),
            (20, &[1]),
            (0, &[]),
            (0, &[0, 0, 0]),
        ];
        for (kind, content) in malformed {
            let (mut client, mut server) = ends();
            client.seal(kind, content).expect("sealed");
            assert!(pass(&mut client, &mut server).is_err(), "{kind} {content:?}");
        }
        let (mut client, mut server) = ends();
        client.seal(HANDSHAKE, &[24, 0]).expect("sealed");
        client.encrypt(b"between").expect("sealed");
        assert!(pass(&mut client, &mut server).is_err(), "data inside of a message");
    }

    #[test]
    fn padding_is_taken_off_and_a_record_of_too_much_is_an_error() {
        let (mut client, mut server) = ends();
        client.seal(0, &[b'h', b'i', DATA, 0, 0]).expect("sealed");
        client.seal(DATA, &[]).expect("sealed");
        assert_eq!(pass(&mut client, &mut server), Ok(b"hi".to_vec()));
        client.seal(DATA, &[1; RECORD + 1]).expect("sealed");
        assert!(pass(&mut client, &mut server).is_err());
    }

    #[test]
    fn an_alert_ends_the_session_but_for_one_that_only_foretells_a_goodbye() {
        let (mut client, mut server) = ends();
        client.alert(Alert(90));
        client.seal(ALERT, &[1, 0]).expect("sealed");
        assert_eq!(pass(&mut client, &mut server), Ok(Vec::new()));
        assert!(server.is_ended);
        let (mut client, mut server) = ends();
        client.alert(Alert(48));
        let fault = pass(&mut client, &mut server).expect_err("an alert");
        assert_eq!(
            fault,
            Fault::silent("the peer refuses the session: unknown CA (TLS alert 48)")
        );
    }
}
