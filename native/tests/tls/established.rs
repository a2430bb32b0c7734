//! Bytes, and the end of them.

use ztm_native::tls::{Decrypted, Input, TlsError};

use crate::pair::{Pair, noise, opened, sent};

#[test]
fn what_is_encrypted_comes_out_whatever_the_pieces_and_the_room() {
    let mut pair = Pair::established();
    let data = noise(100_000);
    for (piece, room) in [
        (1, 1),
        (7, 100_000),
        (5000, 999),
        (16_406, 16_384),
        (1 << 20, 1),
        (1 << 20, 1 << 20),
    ] {
        let data = &data[..if piece == 1 { 20_000 } else { data.len() }];
        pair.client.encrypt(data).unwrap();
        let mut all = Vec::new();
        for piece in sent(&mut pair.client).bytes().chunks(piece) {
            let (got, then) = opened(&mut pair.server, &mut Input::from(piece), room);
            all.extend(got);
            assert_eq!(then, Ok(Decrypted::Nothing));
        }
        assert!(all == data, "in pieces of {piece} with room for {room}");
    }
}

#[test]
fn one_input_serves_many_sessions_in_turn() {
    let mut pair = Pair::established();
    let mut input = Input::with_room(70_000);
    for size in [60_000, 10, 0, 50_000] {
        let data = noise(size);
        pair.server.encrypt(&data).unwrap();
        let cipher = sent(&mut pair.server);
        input.space()[..cipher.bytes().len()].copy_from_slice(cipher.bytes());
        input.came(cipher.bytes().len());
        assert_eq!(
            opened(&mut pair.client, &mut input, 4096),
            (data, Ok(Decrypted::Nothing))
        );
        assert!(input.is_empty() && input.space().len() == 70_000);
    }
}

#[test]
fn the_output_holds_no_memory_when_all_of_it_has_left() {
    let mut pair = Pair::established();
    pair.client.encrypt(&noise(1 << 20)).unwrap();
    let size = pair.client.output().bytes().len();
    pair.client.output().consumed(size - 1);
    assert_eq!(pair.client.output().bytes().len(), 1);
    pair.client.output().consumed(1);
    assert!(pair.client.output().is_empty());
    assert_eq!(pair.client.output().held(), 0);
}

#[test]
fn a_goodbye_is_an_end_and_a_cut_is_not() {
    let mut pair = Pair::established();
    pair.client.encrypt(b"last").unwrap();
    assert_eq!(
        opened(&mut pair.server, &mut sent(&mut pair.client), 99),
        (b"last".to_vec(), Ok(Decrypted::Nothing))
    );
    pair.client.encrypt(b"words").unwrap();
    pair.client.close();
    pair.client.close();
    assert!(matches!(pair.client.encrypt(b"more"), Err(TlsError::Protocol(_))));
    assert_eq!(
        opened(&mut pair.server, &mut sent(&mut pair.client), 99),
        (b"words".to_vec(), Ok(Decrypted::Ended))
    );
    assert_eq!(
        pair.server.decrypt(&mut Input::default(), &mut [0; 9]),
        Ok(Decrypted::Ended)
    );
}

#[test]
fn the_other_direction_outlives_a_goodbye() {
    let mut pair = Pair::established();
    pair.client.close();
    assert_eq!(
        opened(&mut pair.server, &mut sent(&mut pair.client), 9).1,
        Ok(Decrypted::Ended)
    );
    pair.server.encrypt(b"still here").unwrap();
    assert_eq!(
        opened(&mut pair.client, &mut sent(&mut pair.server), 99).0,
        b"still here"
    );
}
