//! The RFC's examples, v1's blocks, and what a hostile peer would send.

use super::*;

const LIMIT: usize = 65536;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// `name: value` lines, as the RFC prints them.
fn lines(fields: &[Field]) -> Vec<String> {
    fields.iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

fn decoded(block: &[u8], max_bytes: usize) -> Result<Vec<String>, HpackError> {
    Decoder::new().decode(block, max_bytes).map(|fields| lines(&fields))
}

fn encoded(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    encode(fields.iter().copied(), &mut block);
    block
}

/// A field that is kept in the table: a name of one byte, and a value of `length` zero bytes.
fn kept(name: u8, length: usize) -> Vec<u8> {
    let mut block = vec![0x40, 1, name];
    integer::write(length, 7, 0, &mut block);
    block.resize(block.len() + length, 0);
    block
}

/// The requests of the RFC's C.3 and C.4, and the table's size behind each.
const REQUESTS: [(&[&str], usize); 3] = [
    (
        &[
            ":method: GET",
            ":scheme: http",
            ":path: /",
            ":authority: www.example.com",
        ],
        57,
    ),
    (
        &[
            ":method: GET",
            ":scheme: http",
            ":path: /",
            ":authority: www.example.com",
            "cache-control: no-cache",
        ],
        110,
    ),
    (
        &[
            ":method: GET",
            ":scheme: https",
            ":path: /index.html",
            ":authority: www.example.com",
            "custom-key: custom-value",
        ],
        164,
    ),
];

fn decodes_in_turn(blocks: [&str; 3], expected: [(&[&str], usize); 3], first: &str) {
    let mut decoder = Decoder::new();
    for (at, (hex, (fields, size))) in blocks.into_iter().zip(expected).enumerate() {
        let block = [bytes(if at == 0 { first } else { "" }), bytes(hex)].concat();
        assert_eq!(lines(&decoder.decode(&block, LIMIT).unwrap()), fields);
        assert_eq!(decoder.table_size(), size);
    }
}

#[test]
fn the_single_fields_of_the_rfc_are_understood() {
    let key = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"; // C.2.1
    assert_eq!(decoded(&bytes(key), LIMIT).unwrap(), ["custom-key: custom-header"]);
    assert_eq!(
        decoded(&bytes("040c 2f73 616d 706c 652f 7061 7468"), LIMIT).unwrap(),
        [":path: /sample/path"]
    );
    assert_eq!(
        decoded(&bytes("1008 7061 7373 776f 7264 0673 6563 7265 74"), LIMIT).unwrap(),
        ["password: secret"]
    );
    assert_eq!(decoded(&[0x82], LIMIT).unwrap(), [":method: GET"]);
}

#[test]
fn the_integers_of_the_rfc_are_understood() {
    for (value, bits, expected) in [(10, 5, &[0x0a][..]), (1337, 5, &[0x1f, 0x9a, 0x0a]), (42, 7, &[0x2a])] {
        let mut out = Vec::new();
        integer::write(value, bits, 0, &mut out);
        assert_eq!(out, expected);
        assert_eq!(integer::read(&mut &out[..], bits), Ok(value));
    }
}

#[test]
fn the_plain_requests_of_the_rfc_are_understood() {
    let blocks = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    decodes_in_turn(blocks, REQUESTS, "");
}

#[test]
fn the_huffman_requests_of_the_rfc_are_understood() {
    let blocks = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    decodes_in_turn(blocks, REQUESTS, "");
}

/// The answers of C.5 and C.6, in a table of 256 bytes that has to drop entries.
const ANSWERS: [(&[&str], usize); 3] = [
    (
        &[
            ":status: 302",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "location: https://www.example.com",
        ],
        222,
    ),
    (
        &[
            ":status: 307",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "location: https://www.example.com",
        ],
        222,
    ),
    (
        &[
            ":status: 200",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:22 GMT",
            "location: https://www.example.com",
            "content-encoding: gzip",
            "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ],
        215,
    ),
];

const TABLE_OF_256: &str = "3fe1 01";

#[test]
fn the_plain_answers_of_the_rfc_are_understood_in_a_small_table() {
    let blocks = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d \
         546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f \
         6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b \
         2076 6572 7369 6f6e 3d31",
    ];
    decodes_in_turn(blocks, ANSWERS, TABLE_OF_256);
}

#[test]
fn the_huffman_answers_of_the_rfc_are_understood_in_a_small_table() {
    let blocks = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 \
         8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 \
         dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    decodes_in_turn(blocks, ANSWERS, TABLE_OF_256);
}

#[test]
fn we_write_what_v1_writes() {
    let json = ("content-type", "application/json");
    assert_eq!(
        encoded(&[(":status", "200"), json]),
        bytes("88 0f10 10 6170706c69636174696f6e2f6a736f6e")
    );
    assert_eq!(
        encoded(&[(":method", "GET"), (":scheme", "http"), (":path", "/api")]),
        bytes("8286 0404 2f617069")
    );
    assert_eq!(encoded(&[(":status", "201")]), bytes("0803 323031"));
    assert_eq!(encoded(&[("x-own", "")]), bytes("0005 782d6f776e 00"));
}

#[test]
fn what_v1_s_peers_have_sent_is_understood() {
    let ping = [":method: GET", ":scheme: http", ":path: /api/ping"];
    assert_eq!(decoded(&bytes("828644876075998acd54df"), LIMIT).unwrap(), ping);
    let answer = decoded(&bytes("880f10106170706c69636174696f6e2f6a736f6e"), LIMIT).unwrap();
    assert_eq!(answer, [":status: 200", "content-type: application/json"]);
}

#[test]
fn any_text_comes_back_as_it_was_sent() {
    let long = "x".repeat(20_000);
    let mut fields: Vec<(&str, &str)> = static_table::STATIC.to_vec();
    fields.extend([
        (":method", "CONNECT"),
        ("", ""),
        ("user", "Ünïcødé 🦀"),
        ("long", &long),
        ("accept", "*/*"),
    ]);
    let got = Decoder::new().decode(&encoded(&fields), LIMIT).unwrap();
    assert_eq!(
        got.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>(),
        fields
    );
}

#[test]
fn strings_of_any_length_come_back_as_they_were_sent() {
    for length in (0..400).chain([16_510, 16_511, 16_512, 40_000]) {
        let value = "v".repeat(length);
        let got = Decoder::new().decode(&encoded(&[("n", &value)]), LIMIT).unwrap();
        assert_eq!(*got[0].1, *value);
    }
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    assert_eq!(
        decoded(&[0x00, 1, b'n', 3, b'a', 0xff, b'b'], LIMIT).unwrap(),
        ["n: a\u{fffd}b"]
    );
}

#[test]
fn a_block_cut_anywhere_within_a_field_is_refused() {
    let block = bytes("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572");
    for end in 1..block.len() {
        assert_eq!(decoded(&block[..end], LIMIT), Err(HpackError::Truncated), "{end} bytes");
    }
    for cut in ["3f", "3fe1", "ff", "7f", "0f", "0001", "00 01 6e 85 aec3 771a"] {
        assert_eq!(decoded(&bytes(cut), LIMIT), Err(HpackError::Truncated), "{cut}");
    }
}

#[test]
fn an_integer_of_no_sensible_size_is_refused() {
    for first in [0xff, 0x7f, 0x3f, 0x1f, 0x0f] {
        for rest in [[0xff; 12], [0x80; 12]] {
            let block = [&[first][..], &rest].concat();
            assert_eq!(decoded(&block, LIMIT), Err(HpackError::IntegerTooLarge));
        }
    }
    let length_of_a_string = [&[0x00, 0x7f][..], &[0xff; 12]].concat();
    assert_eq!(decoded(&length_of_a_string, LIMIT), Err(HpackError::IntegerTooLarge));
}

#[test]
fn an_index_of_nothing_is_refused() {
    for hex in ["80", "be", "ff00", "ffffffff7f", "7f00 0161", "0f80ffff7f 0161"] {
        assert_eq!(decoded(&bytes(hex), LIMIT), Err(HpackError::UnknownIndex), "{hex}");
    }
}

#[test]
fn the_table_grows_no_further_than_announced() {
    assert_eq!(
        decoded(&bytes("3fe11f 82"), LIMIT).unwrap(),
        [":method: GET"],
        "4096 is what we announce"
    );
    assert_eq!(decoded(&bytes("3fe21f 82"), LIMIT), Err(HpackError::BadTableSize));
    let mut decoder = Decoder::new();
    for name in 0..=255 {
        decoder.decode(&kept(name, 100), LIMIT).unwrap();
        assert!(decoder.table_size() <= 4096);
    }
    assert_eq!(decoder.table_size(), 4096 / 133 * 133);
}

#[test]
fn the_table_is_resized_only_at_the_beginning_of_a_block() {
    assert_eq!(decoded(&bytes("20 3fe101 82"), LIMIT).unwrap(), [":method: GET"]);
    for late in ["82 20", "82 20 82", "82 3fe101"] {
        assert_eq!(decoded(&bytes(late), LIMIT), Err(HpackError::BadTableSize), "{late}");
    }
}

#[test]
fn a_table_resized_to_nothing_forgets_all() {
    let mut decoder = Decoder::new();
    decoder.decode(&kept(b'n', 100), LIMIT).unwrap();
    assert_eq!(decoder.decode(&[0xbe], LIMIT).unwrap().len(), 1);
    assert_eq!(decoder.decode(&[0x20], LIMIT), Ok(vec![]));
    assert_eq!(decoder.table_size(), 0);
    assert_eq!(decoder.decode(&[0xbe], LIMIT), Err(HpackError::UnknownIndex));
}

#[test]
fn a_field_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new();
    decoder.decode(&kept(b'n', 100), LIMIT).unwrap();
    decoder.decode(&kept(b'm', 4096), LIMIT).unwrap();
    assert_eq!(decoder.table_size(), 0);
}

#[test]
fn a_name_may_be_taken_from_the_entry_that_it_drops() {
    let mut decoder = Decoder::new();
    decoder.decode(&kept(b'n', 4000), LIMIT).unwrap();
    let renamed = [&[0x7e, 0x7f, 0xa1, 0x1e][..], &[b'v'; 4000]].concat();
    let fields = decoder.decode(&renamed, LIMIT).unwrap();
    assert_eq!((&*fields[0].0, fields[0].1.len()), ("n", 4000));
    assert_eq!(decoder.decode(&[0xbe], LIMIT).unwrap(), fields);
}

#[test]
fn a_bomb_of_references_ends_at_the_limit() {
    let mut decoder = Decoder::new();
    decoder.decode(&kept(b'n', 4000), LIMIT).unwrap();
    assert_eq!(decoder.decode(&[0xbe; 60_000], LIMIT), Err(HpackError::TooLarge)); // would be 240 MB
}

#[test]
fn the_limit_counts_name_value_and_overhead_and_is_exact() {
    let block = encoded(&[("name", "value"), ("name", "value")]);
    assert_eq!(decoded(&block, 82).unwrap().len(), 2);
    assert_eq!(decoded(&block, 81), Err(HpackError::TooLarge));
    assert_eq!(decoded(&[0, 0, 0], 32).unwrap(), [": "], "nothing at all weighs 32");
    assert_eq!(decoded(&[0, 0, 0], 31), Err(HpackError::TooLarge));
}

#[test]
fn an_error_lasts_and_gives_the_table_back() {
    let mut decoder = Decoder::new();
    decoder.decode(&kept(b'n', 100), LIMIT).unwrap();
    assert_eq!(decoder.decode(&[0x80], LIMIT), Err(HpackError::UnknownIndex));
    assert_eq!(decoder.decode(&[0x82], LIMIT), Err(HpackError::UnknownIndex));
    assert_eq!(decoder.table_size(), 0);
}
