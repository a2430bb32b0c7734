//! Who takes the datagrams of one socket: the session of their sender, or else the thread that decides.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use super::relay::Relay;
use crate::events::{Events, Happening};
use crate::lock;
use crate::turn::Turn;

/// Datagrams that may wait for the thread that decides; what comes beyond is dropped.
const WAITING: usize = 4096;

/// A sender as Python can name it, without an interface.
type Sender = (IpAddr, u16);

pub struct Routes {
    /// Names the socket in events.
    token: u64,
    events: Arc<Events>,
    by_sender: Mutex<HashMap<Sender, Arc<Relay>>>,
}

impl Routes {
    #[must_use]
    pub fn new(token: u64, events: &Arc<Events>) -> Self {
        Self {
            token,
            events: events.clone(),
            by_sender: Mutex::default(),
        }
    }

    /// A datagram came.
    pub fn received(&self, turn: &mut Turn, data: &[u8], from: SocketAddr) {
        let route = {
            let known = lock(&self.by_sender);
            let route = known.get(&sender(from)).cloned();
            if route.is_none() && self.events.waiting() < WAITING {
                self.events.push(self.token, Happening::Datagram(data.to_vec(), from));
            }
            route
        };
        if let Some(relay) = route {
            relay.offer(turn, data);
        }
    }

    /// Give what `from` sends to `relay`, and first what it has sent already and nobody was told of.
    pub fn lead(&self, from: SocketAddr, relay: &Arc<Relay>) {
        let mut known = lock(&self.by_sender);
        for early in self
            .events
            .take_datagrams(self.token, |source| sender(source) == sender(from))
        {
            relay.keep(&early);
        }
        known.insert(sender(from), relay.clone());
    }

    /// `relay` takes nothing any more.
    pub fn forget(&self, from: SocketAddr, relay: &Relay) {
        let mut known = lock(&self.by_sender);
        if known
            .get(&sender(from))
            .is_some_and(|route| std::ptr::eq(&raw const **route, relay))
        {
            known.remove(&sender(from));
        }
    }
}

fn sender(address: SocketAddr) -> Sender {
    (address.ip(), address.port())
}
