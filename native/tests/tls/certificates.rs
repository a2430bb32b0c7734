//! Who is let in, and what is said of who is not.

use ztm_native::tls::{Input, TlsError};

use crate::cards::{Ca, Card, Form, V1, context, rsa};
use crate::pair::{Pair, opened, sent};

const V3: Form = Form { version: 3, ..V1 };

fn shaken(client: (&Ca, &Card), server: (&Ca, &Card)) -> (Pair, Result<(), TlsError>) {
    let mut pair = Pair::start(&client.0.context(client.1, false), &server.0.context(server.1, true));
    let result = pair.shake();
    (pair, result)
}

fn refused(error: Result<(), TlsError>) -> String {
    let Err(TlsError::Certificate(text)) = error else {
        panic!("not refused for a certificate: {error:?}")
    };
    text
}

#[test]
fn both_sides_of_one_mesh_see_each_others_certificate() {
    let ca = Ca::v1();
    let (client, server) = (ca.card(&rsa(), &V1), ca.card(&rsa(), &V1));
    let (mut pair, result) = shaken((&ca, &client), (&ca, &server));
    result.unwrap();
    let der = |card: &Card| {
        openssl::x509::X509::from_pem(card.certificate.as_bytes())
            .unwrap()
            .to_der()
            .unwrap()
    };
    assert_eq!(
        pair.server.take_peer_certificate().as_deref(),
        Some(der(&client).as_slice())
    );
    assert_eq!(
        pair.client.take_peer_certificate().as_deref(),
        Some(der(&server).as_slice())
    );
    assert!(pair.client.is_own() && pair.server.is_own());
}

#[test]
fn certificates_of_versions_1_and_3_are_accepted_in_any_mixture() {
    for ca in [Ca::v1(), Ca::new(rsa(), &V3)] {
        for form in [
            V1,
            V3,
            Form {
                usage: Some((true, true)),
                ..V3
            },
        ] {
            let card = ca.card(&rsa(), &form);
            shaken((&ca, &card), (&ca, &card)).1.unwrap();
        }
    }
}

#[test]
fn a_server_of_another_ca_is_refused_and_told_so() {
    let (ours, theirs) = (Ca::v1(), Ca::v1());
    let (client, server) = (ours.card(&rsa(), &V1), theirs.card(&rsa(), &V1));
    let (mut pair, result) = shaken((&ours, &client), (&theirs, &server));
    assert!(refused(result).starts_with("it is not signed by this mesh's CA ("));
    let told = pair.server.shake(&mut sent(&mut pair.client)).unwrap_err();
    assert!(
        matches!(&told, TlsError::Protocol(text) if text.contains("alert")),
        "{told}"
    );
}

#[test]
fn a_client_of_another_ca_is_refused_and_learns_it_with_the_first_bytes() {
    let ours = Ca::v1();
    let (client, server) = (Ca::v1().card(&rsa(), &V1), ours.card(&rsa(), &V1));
    let (mut pair, result) = shaken((&ours, &client), (&ours, &server));
    assert!(refused(result).starts_with("it is not signed by this mesh's CA ("));
    let told = opened(&mut pair.client, &mut sent(&mut pair.server), 99).1.unwrap_err();
    assert!(told.to_string().contains("alert"), "{told}");
    assert_eq!(pair.client.encrypt(b"x"), Err(told));
}

#[test]
fn nobody_without_a_certificate_of_the_present_is_accepted() {
    let ca = Ca::v1();
    let good = ca.card(&rsa(), &V1);
    for (days, text) in [
        ((-9, -1), "certificate has expired"),
        ((1, 9), "certificate is not yet valid"),
    ] {
        let bad = ca.card(&rsa(), &Form { days, ..V1 });
        for (client, server) in [(&good, &bad), (&bad, &good)] {
            let told = refused(shaken((&ca, client), (&ca, server)).1);
            assert!(told.starts_with(text), "{told}");
        }
    }
}

#[test]
fn a_certificate_is_good_only_for_what_it_says() {
    let ca = Ca::v1();
    let for_clients = ca.card(
        &rsa(),
        &Form {
            usage: Some((true, false)),
            ..V3
        },
    );
    let for_servers = ca.card(
        &rsa(),
        &Form {
            usage: Some((false, true)),
            ..V3
        },
    );
    shaken((&ca, &for_clients), (&ca, &for_servers)).1.unwrap();
    let hub = refused(shaken((&ca, &for_clients), (&ca, &for_clients)).1);
    assert!(
        hub.starts_with("it is not one for a server, so whoever shows it is no hub ("),
        "{hub}"
    );
    let agent = refused(shaken((&ca, &for_servers), (&ca, &for_servers)).1);
    assert!(agent.starts_with("it is not one for a client ("), "{agent}");
}

#[test]
fn what_cannot_be_used_is_told_when_the_context_is_made() {
    let ca = Ca::v1();
    let (card, other) = (ca.card(&rsa(), &V1), ca.card(&rsa(), &V1));
    let mixed = Card {
        certificate: card.certificate.clone(),
        key: other.key,
    };
    let empty = Card {
        certificate: String::new(),
        key: card.key.clone(),
    };
    let damaged = Card {
        certificate: card.certificate.replace("MII", "MIX"),
        key: card.key.clone(),
    };
    for (authority, card) in [
        ("", &card),
        ("nonsense", &card),
        (&ca.pem, &mixed),
        (&ca.pem, &empty),
        (&ca.pem, &damaged),
    ] {
        assert!(matches!(
            context(authority, card, true, "").err(),
            Some(TlsError::Configuration(_))
        ));
    }
}

#[test]
fn a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it() {
    let ca = Ca::v1();
    let key = rsa();
    let card = ca.card(&key, &V1);
    let locked = key
        .private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"secret")
        .unwrap();
    let card = Card {
        key: String::from_utf8(locked).unwrap(),
        ..card
    };
    assert!(matches!(
        context(&ca.pem, &card, false, "").err(),
        Some(TlsError::Configuration(_))
    ));
}

#[test]
fn key_exchanges_are_chosen_by_name_and_unknown_ones_are_refused() {
    let ca = Ca::v1();
    let card = ca.card(&rsa(), &V1);
    let made = |groups: &str, server| context(&ca.pem, &card, server, groups);
    for name in [
        "ML-KEM-512",
        "ML-KEM-768",
        "ML-KEM-1024",
        "MLKEM768",
        "X25519MLKEM768",
        "X25519",
        "ML-KEM-768:X25519",
    ] {
        Pair::start(&made(name, false).unwrap(), &made(name, true).unwrap())
            .shake()
            .unwrap();
    }
    for name in ["ML-KEM-513", "no such", ":", "X25519\0"] {
        assert!(
            matches!(made(name, true).err(), Some(TlsError::Configuration(_))),
            "{name:?}"
        );
    }
    let mut apart = Pair::start(&made("", false).unwrap(), &made("ML-KEM-1024", true).unwrap());
    assert!(
        matches!(apart.shake(), Err(TlsError::Protocol(_))),
        "there is no falling back"
    );
}

#[test]
fn a_handshake_goes_on_byte_by_byte() {
    let ca = Ca::v1();
    let card = ca.card(&rsa(), &V1);
    let mut pair = Pair::start(&ca.context(&card, false), &ca.context(&card, true));
    let mut is_done = (false, false);
    while is_done != (true, true) {
        for byte in sent(&mut pair.server).bytes() {
            is_done.0 = pair.client.shake(&mut Input::from([*byte].as_slice())).unwrap();
        }
        if !is_done.0 {
            is_done.0 = pair.client.shake(&mut Input::default()).unwrap();
        }
        for byte in sent(&mut pair.client).bytes() {
            is_done.1 = pair.server.shake(&mut Input::from([*byte].as_slice())).unwrap();
        }
    }
}
