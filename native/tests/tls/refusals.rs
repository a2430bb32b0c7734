//! Peers that do not keep to the protocol.

use ztm_native::tls::{Decrypted, Input, TlsError};

use crate::cards::{Ca, V1, rsa};
use crate::pair::{Pair, noise, opened, sent};

#[test]
fn what_is_not_tls_is_an_error_of_the_protocol_and_stays_one() {
    let ca = Ca::v1();
    let card = ca.card(&rsa(), &V1);
    for server in [false, true] {
        let context = ca.context(&card, server);
        for garbage in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            vec![0; 300],
            vec![0xff; 40_000],
            noise(5000),
        ] {
            let mut tls = context.start().unwrap();
            let error = tls.shake(&mut Input::from(garbage.as_slice())).unwrap_err();
            assert!(matches!(error, TlsError::Protocol(_)));
            assert_eq!(tls.shake(&mut Input::default()), Err(error.clone()));
            assert_eq!(tls.encrypt(b"x"), Err(error));
        }
    }
}

#[test]
fn nothing_is_carried_before_the_handshake_is_done() {
    let ca = Ca::v1();
    let mut tls = ca.context(&ca.card(&rsa(), &V1), true).start().unwrap();
    assert!(tls.encrypt(b"early").is_err());
    assert!(tls.decrypt(&mut Input::from(b"early".as_slice()), &mut [0; 9]).is_err());
    assert!(tls.take_peer_certificate().is_none() && !tls.is_own());
    tls.close();
    assert!(tls.output().is_empty());
}

#[test]
fn a_changed_bit_anywhere_in_a_record_is_found_and_the_peer_is_told() {
    for bit in [0, 5 * 8, 50 * 8, 120 * 8 + 3] {
        let mut pair = Pair::established();
        pair.client.encrypt(b"good").unwrap();
        pair.client.encrypt(&noise(100)).unwrap();
        let mut cipher = sent(&mut pair.client).bytes().to_vec();
        let second = cipher.len() - 122;
        cipher[second + bit / 8] ^= 1 << (bit % 8);
        let (good, then) = opened(&mut pair.server, &mut Input::from(cipher.as_slice()), 999);
        assert_eq!(good, b"good", "what came before is good");
        assert!(matches!(then, Err(TlsError::Protocol(_))), "bit {bit}: {then:?}");
        let told = opened(&mut pair.client, &mut sent(&mut pair.server), 999)
            .1
            .unwrap_err();
        assert!(told.to_string().contains("TLS alert"), "{told}");
    }
}

#[test]
fn a_record_that_comes_twice_or_out_of_order_is_refused() {
    let mut pair = Pair::established();
    pair.client.encrypt(b"once").unwrap();
    let once = sent(&mut pair.client).bytes().to_vec();
    assert_eq!(
        opened(&mut pair.server, &mut Input::from(once.as_slice()), 99).1,
        Ok(Decrypted::Nothing)
    );
    assert!(
        opened(&mut pair.server, &mut Input::from(once.as_slice()), 99)
            .1
            .is_err()
    );
    let mut pair = Pair::established();
    pair.client.encrypt(b"first").unwrap();
    drop(sent(&mut pair.client));
    pair.client.encrypt(b"second").unwrap();
    assert!(opened(&mut pair.server, &mut sent(&mut pair.client), 99).1.is_err());
}

#[test]
fn records_of_wrong_sizes_and_kinds_are_refused() {
    let header = |kind: u8, size: u16| [[kind, 3, 3].as_slice(), &size.to_be_bytes()].concat();
    for (kind, size) in [
        (23, 0),
        (23, 16),
        (23, 17),
        (23, 16_641),
        (23, u16::MAX),
        (20, 1),
        (21, 2),
        (22, 60),
        (0, 0),
    ] {
        let mut pair = Pair::established();
        let record = [header(kind, size), noise(usize::from(size))].concat();
        let then = opened(&mut pair.server, &mut Input::from(record.as_slice()), 99).1;
        assert!(
            matches!(then, Err(TlsError::Protocol(_))),
            "kind {kind}, {size} bytes: {then:?}"
        );
    }
}

#[test]
fn noise_of_any_size_ends_the_session_and_nothing_else() {
    for size in 5..200 {
        let mut pair = Pair::established();
        let (plain, then) = opened(&mut pair.server, &mut Input::from(noise(size).as_slice()), 99);
        assert!(plain.is_empty());
        assert_ne!(then, Ok(Decrypted::Ended));
    }
}
