//! The properties on all seeds and on mutations of them, with no more than a stable compiler.

use std::path::Path;

/// Of each seed, a run.
const MUTATIONS: u64 = 400;

/// Runs a property on the seeds of its target, whole, cut short, and with bytes changed in a fixed sequence.
fn run(target: &str, property: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&seeds).expect("the target has a directory of seeds") {
        let path = entry.expect("the directory can be listed").path();
        let seed = std::fs::read(&path).expect("a seed can be read");
        count += 1;
        property(&seed);
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed.len() as u64);
        for _ in 0..MUTATIONS {
            property(&random.mutated(&seed));
        }
    }
    assert!(count > 0, "no seeds in {}", seeds.display());
}

/// xorshift64: the same sequence on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn mutated(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.below(256) as u8),
                2 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                _ if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                _ => {}
            }
        }
        bytes
    }
}

#[test]
fn header_blocks_of_any_kind_keep_to_their_limits() {
    run("hpack", super::hpack);
}

#[test]
fn a_session_keeps_to_its_limits_whatever_the_peer_sends_and_whatever_its_consumer_does() {
    run("session", super::session);
}

#[test]
fn a_stream_of_datagrams_gives_the_same_however_it_arrives() {
    run("datagram", super::datagram);
}
